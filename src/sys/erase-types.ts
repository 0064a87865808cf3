import { stripTypeScriptTypes } from 'node:module';

/**
 * TypeScript without its types. Blanks stay in their place, so lines and columns are the same. Node's warning that the function
 * may change is for us and not for the user of a command.
 */
export function eraseTypes(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}
