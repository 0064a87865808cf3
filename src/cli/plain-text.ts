/**
 * Text that others wrote (a lease's value, a name of a container) as one line that moves no cursor and changes no colour:
 * control characters, and those that turn the direction of writing, are shown as `�`.
 */
export const plainText = (text: string): string => text.replace(UNSEEN, '\ufffd');

const UNSEEN = /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
