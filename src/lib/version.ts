/** The version of the programs; the same as package.json's. */
export const VERSION = '0.1.0';
