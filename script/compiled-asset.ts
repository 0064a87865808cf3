/**
 * A program's compiled code as an asset of the executable. V8 reads it where it is mapped if its address is a multiple of
 * 8, and makes a copy of these megabytes if not; --build-sea puts assets at any address. So the asset has room for 8
 * more bytes, in which the code is moved when all addresses are known. The first byte says where it begins.
 */
const ALIGN = 8;

/** What goes to --build-sea. */
export const compiledAsset = (code: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.of(ALIGN, ...new Array<number>(ALIGN - 1).fill(0)), code]);

/** Moves the code within the asset that begins at a byte of the file, and at an address of the process. */
export function alignCompiled(file: Buffer, asset: { offset: number; address: number; bytes: number }): void {
  const { offset, address, bytes } = asset;
  const shift = ALIGN - (address % ALIGN);
  file.copyWithin(offset + shift, offset + ALIGN, offset + bytes);
  file.fill(0, offset + shift + bytes - ALIGN, offset + bytes);
  file[offset] = shift;
}

/** The code in an asset; empty where nothing was compiled. */
export function readCompiled(asset: Uint8Array): Uint8Array {
  const shift = asset[0] ?? 0;
  return asset.subarray(shift, Math.max(shift, asset.length - ALIGN + shift));
}
