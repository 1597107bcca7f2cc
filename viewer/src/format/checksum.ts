// crc32c (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720, appendix B.4), and the codec of zarr that checks it.

const TABLES = makeTables();

/** Return the checksum of bytes. */
export function crc32c(bytes: Uint8Array): number {
  // Eight bytes at a time, with a table for each ("slicing by 8").
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = 0xffffffff;
  let i = 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (; i + 8 <= bytes.length; i += 8) {
    const low = crc ^ view.getUint32(i, true);
    const high = view.getUint32(i + 4, true);
    crc =
      at(t7, low & 0xff) ^ at(t6, (low >>> 8) & 0xff) ^ at(t5, (low >>> 16) & 0xff) ^ at(t4, low >>> 24) ^
      at(t3, high & 0xff) ^ at(t2, (high >>> 8) & 0xff) ^ at(t1, (high >>> 16) & 0xff) ^ at(t0, high >>> 24);
  }
  for (; i < bytes.length; i += 1) crc = at(t0, (crc ^ at(bytes, i)) & 0xff) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The `crc32c` codec of Zarr: the checksum follows the bytes, little endian. zarrita itself drops it unread. */
export class CheckedCrc32c {
  readonly kind = "bytes_to_bytes";

  static fromConfig(): CheckedCrc32c {
    return new CheckedCrc32c();
  }

  encode(): never {
    throw new Error("this page writes nothing");
  }

  decode(bytes: Uint8Array): Uint8Array {
    const end = bytes.length - 4;
    const content = bytes.subarray(0, Math.max(end, 0));
    const stored = end < 0 ? -1 : new DataView(bytes.buffer, bytes.byteOffset + end, 4).getUint32(0, true);
    const computed = crc32c(content);
    if (stored !== computed) {
      throw new Error(`its checksum is ${hex(computed)}, expected ${stored < 0 ? "four bytes more" : hex(stored)}`);
    }
    return content;
  }

  computeEncodedSize(size: number): number {
    return size + 4;
  }
}

function makeTables(): [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    return crc >>> 0;
  });
  const next = (table: Uint32Array): Uint32Array => table.map((crc) => at(first, crc & 0xff) ^ (crc >>> 8));
  const t1 = next(first);
  const t2 = next(t1);
  const t3 = next(t2);
  const t4 = next(t3);
  const t5 = next(t4);
  const t6 = next(t5);
  return [first, t1, t2, t3, t4, t5, t6, next(t6)];
}

function at(values: Uint32Array | Uint8Array, index: number): number {
  return values[index] as number;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
