"""Messages for requests that object storage refused: missing or wrong credentials, or missing permissions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["is_lookup_of_role", "reason_of_denial"]

# The URLs of AWS for the credentials of a machine's or container's role. Without credentials, obstore asks there.
_ROLE = re.compile(r"/latest/(api/token|meta-data/iam)|//169\.254\.170\.")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_XML = re.compile(r":?\s*<\?xml.*")
_FORBIDDEN = re.compile(r"status code: 40[13]")
_KEYS = "access_key_id and secret_access_key in storage_options, or in the environment"
_WAYS_OUT = {
    "InvalidAccessKeyId": f"check {_KEYS}",
    "SignatureDoesNotMatch": f"check {_KEYS}",
    "ExpiredToken": "the session has ended; get a new session_token",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "AuthorizationHeaderMalformed": "set the region of the bucket in storage_options",
    "PermanentRedirect": "set the region of the bucket in storage_options",
}


def is_lookup_of_role(error: BaseException) -> bool:
    """Return whether a request failed because there were no credentials and the machine has no role with any."""
    return _ROLE.search(str(error)) is not None


def reason_of_denial(error: BaseException, options: Mapping[str, Any]) -> str | None:
    """Return the reason of a refused request with the way out; None if the error has another reason.

    Parameters
    ----------
    error : Exception
        Error of obstore.
    options : mapping
        Options of the storage.
    """
    text = str(error).strip()
    if is_lookup_of_role(error):
        profile = os.environ.get("AWS_PROFILE")
        reads_none = f" (AWS_PROFILE is {profile!r}, and obstore reads no profiles)" if profile else ""
        return (
            f"no credentials were found{reads_none}, and this machine has no role with credentials; set {_KEYS}; for "
            f"a profile, driver = fsspec and profile = {profile or 'NAME'}; for a public bucket, skip_signature = true"
        )
    if "performing PROPFIND" in text:
        return f"{_first_line(text)}; this web server cannot list objects, as all commands but reads must; use s3://"
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code is None and not _FORBIDDEN.search(text):
        return None
    name = code[1] if code else ""
    way_out = _WAYS_OUT.get(name)
    if way_out is None and not _FORBIDDEN.search(text):
        return None
    said = ": ".join(part for part in (name, message[1].strip(" .") if message else "") if part)
    return "; ".join(part for part in (_first_line(text), said, way_out or _way_out_of_403(options)) if part)


def _first_line(text: str) -> str:
    return _XML.sub("", text.splitlines()[0])


def _way_out_of_403(options: Mapping[str, Any]) -> str:
    if str(options.get("skip_signature", "")).lower() == "true":
        return f"the bucket does not allow this without credentials; leave skip_signature out, and set {_KEYS}"
    return "these credentials do not allow it; use others, or ask the owner of the bucket to allow it"
