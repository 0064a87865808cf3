import { join } from 'node:path';
import { generateUnits } from '#src/cli/generator/generate-units.ts';
import { messageOf } from '#src/lib/errors.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';

const USAGE = `Usage: weft-generator NORMAL EARLY LATE
  A generator of systemd (systemd.generator(7)), which runs it at boot and at each daemon-reload. Where flanneld.service is
  enabled, it writes a drop-in for docker.service into the folder NORMAL: Docker starts on flannel's subnet. Where
  weft-docker.socket is enabled, it writes the drop-ins of Docker's network driver.
`;

/** Runs while systemd waits, before everything else of a boot: no more is loaded than is used, and no failure stops it. */
async function run(argv: readonly string[]): Promise<void> {
  const [folder] = argv;
  if (folder === undefined || argv.length !== 3 || folder.startsWith('-')) {
    process.stderr.write(USAGE);
    process.exitCode = /^--?h(elp)?$/.test(argv.join()) ? 0 : 1;
    return;
  }
  try {
    const { files, notes } = await generateUnits({ files: systemFiles, folders: systemFolders });
    for (const [path, text] of files) await systemFiles.writeAtomically(join(folder, path), text);
    for (const note of notes) await say(WARNING, note);
  } catch (error) {
    await say(ERROR, `no drop-in for Docker: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}

/** linux/kern_levels.h */
const [ERROR, WARNING] = [3, 4];

/** There is no journal yet: the kernel's log, or where there is none, standard error. */
async function say(level: number, line: string): Promise<void> {
  const text = `weft-generator: ${line}\n`;
  if (process.stderr.isTTY) process.stderr.write(text);
  else await systemFiles.write('/dev/kmsg', `<${level}>${text}`).catch(() => process.stderr.write(text));
}

void run(process.argv.slice(2));
