"""Why object storage refused a request, and what its user may do: no credentials, wrong ones, or too few rights."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["is_lookup_of_role", "reason_of_denial"]

# Where AWS has the credentials of a machine's or a container's role: obstore asks there where it finds no others.
_ROLE = re.compile(r"/latest/(api/token|meta-data/iam)|//169\.254\.170\.")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_XML = re.compile(r":?\s*<\?xml.*")
_FORBIDDEN = re.compile(r"status code: 40[13]")
_KEYS = "access_key_id and secret_access_key in storage_options, or in the environment"
_WAYS_OUT = {
    "InvalidAccessKeyId": f"check {_KEYS}",
    "SignatureDoesNotMatch": f"check {_KEYS}",
    "ExpiredToken": "the session has ended; get another session_token",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "AuthorizationHeaderMalformed": "give the region of the bucket in storage_options",
    "PermanentRedirect": "give the region of the bucket in storage_options",
}


def is_lookup_of_role(error: BaseException) -> bool:
    """Return whether a request failed since there were no credentials, and the machine has no role that has them."""
    return _ROLE.search(str(error)) is not None


def reason_of_denial(error: BaseException, options: Mapping[str, Any]) -> str | None:
    """Return the reason that an error has, and the way out; None where it is about something else.

    Parameters
    ----------
    error : Exception
        Of obstore.
    options : mapping
        The options that the storage was opened with.
    """
    text = str(error).strip()
    if is_lookup_of_role(error):
        profile = os.environ.get("AWS_PROFILE")
        reads_none = f" (AWS_PROFILE is {profile!r}, and obstore reads no profiles)" if profile else ""
        return (
            f"no credentials were found{reads_none}, and this machine has no role that gives some; give {_KEYS}; for "
            f"a profile, driver = fsspec and profile = {profile or 'NAME'}; for a public bucket, skip_signature = true"
        )
    if "performing PROPFIND" in text:
        return f"{_first_line(text)}; this web server gives no lists; reads need none, other commands do: take s3://"
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
        return f"the bucket does not allow this without credentials; leave skip_signature out, and give {_KEYS}"
    return "these credentials do not allow it; use others, or have the owner of the bucket allow it"
