/** A segment of a key, of a file's name and of a metric's label. */
const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Up to 64 letters, digits, `.`, `_` and `-`; the first is a letter or digit. */
export const isKeySegment = (text: string): boolean => SEGMENT.test(text);
