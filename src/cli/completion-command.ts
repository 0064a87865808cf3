import { bashCompletion } from '#src/cli/bash-completion.ts';
import type { Command } from '#src/cli/command.ts';
import { COMMANDS } from '#src/cli/commands.ts';
import { type Completions, completionsOf } from '#src/cli/completion-table.ts';
import { fishCompletion } from '#src/cli/fish-completion.ts';
import { zshCompletion } from '#src/cli/zsh-completion.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';

const SHELLS: Readonly<Record<string, (table: readonly Completions[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

const USAGE = `Usage: weft completion bash|zsh|fish
  Prints what makes the shell complete weft's commands, flags and values. To have it in each shell:
  bash  weft completion bash > /etc/bash_completion.d/weft
  zsh   weft completion zsh > /usr/local/share/zsh/site-functions/_weft
  fish  weft completion fish > ~/.config/fish/completions/weft.fish
  To have it in this one: source <(weft completion bash)`;

export const COMPLETION: Command = {
  shape: { words: Object.keys(SHELLS) },
  async run([shell = '', ...more], { output }) {
    if (/^(|--?h(elp)?|help)$/.test(shell) || more.length > 0) {
      output.complain(USAGE);
      return shell === '' || more.length > 0 ? 2 : 0;
    }
    const make = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (make === undefined) {
      const hint = didYouMean(shell, Object.keys(SHELLS), 'there are bash, zsh and fish');
      output.complain(`weft completion: there is no completion for ${shell}; ${hint}`);
      return 2;
    }
    output.print(make(await completionsOf(COMMANDS)));
    return 0;
  },
};
