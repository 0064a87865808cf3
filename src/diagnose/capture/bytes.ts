/** A view of exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A part of a packet that can't be read: the rest of the bytes is missing, or they contradict themselves. */
export interface Unreadable {
  readonly kind: 'unreadable';
  /** `TCP header cut short`, `IPv4 header of 8 bytes`. */
  readonly what: string;
}

export const unreadable = (what: string): Unreadable => ({ kind: 'unreadable', what });
