/** Of the store's file, in SQLite's `user_version`. A store opens files of this format only. */
export const STORE_FORMAT = 1;
