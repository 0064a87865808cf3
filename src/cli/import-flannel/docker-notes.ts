import { lastOf, listOf, parseUnitFile, type UnitText } from '#src/lib/unit-file.ts';
import { readUnit, type UnitReader } from '#src/sys/read-unit.ts';

/** What Docker's side has of flannel, and what to do with it: one line each. Nothing is changed. */
export async function dockerNotes(reader: UnitReader): Promise<string[]> {
  const docker = await readUnit(reader, 'docker.service');
  const notes = docker === undefined ? [] : docker.texts.flatMap(notesOf);
  for (const folder of ['/etc/systemd/system', '/usr/lib/systemd/system']) {
    const required = await reader.folders.list(`${folder}/docker.service.requires`);
    for (const name of required.filter((name) => name.includes('flannel')))
      notes.push(
        `${folder}/docker.service.requires/${name}: each stop of ${name} stops Docker; "systemctl disable ${name}" removes it, and weft's unit does not make it again`,
      );
  }
  const options = await readUnit(reader, 'flannel-docker-opts.service');
  if (options !== undefined)
    notes.push(
      `flannel-docker-opts.service writes Docker's options for flannel: systemctl disable --now flannel-docker-opts; weft's unit writes /run/flannel/docker`,
    );
  return [...notes, ...(await jsonNotes(reader))];
}

function notesOf(file: UnitText): string[] {
  const notes: string[] = [];
  const { source } = file;
  for (const { value } of listOf([file], { section: 'Service', key: 'EnvironmentFile' })) {
    const path = value.replace(/^-/, '');
    if (path === '/run/flannel/docker')
      notes.push(`${source} has Docker take its options from ${path}, as weft does: it may stay`);
    else if (path.startsWith('/run/flannel/subnet') || /flannel.*opt|docker_opts/.test(path))
      notes.push(
        `${source} has Docker take its options from ${path}: remove that line, and what ExecStart= takes from it; weft's drop-in has Docker read /run/flannel/docker`,
      );
  }
  const requires = ['Requires', 'BindsTo', 'PartOf'].flatMap((key) =>
    parseUnitFile(file).filter(
      (one) => one.section === 'Unit' && one.key === key && /flannel/.test(one.value),
    ),
  );
  for (const { key, value } of requires)
    notes.push(
      `${source} has ${key}=${value}: a restart of flanneld restarts Docker and its containers; make it Wants=`,
    );
  const start = lastOf([file], { section: 'Service', key: 'ExecStart' });
  if (/\$\{?(FLANNEL_|DOCKER_OPT_)/.test(start?.value ?? ''))
    notes.push(
      `${source} has an ExecStart= of its own with flannel's variables: write $DOCKER_NETWORK_OPTIONS in place of them, or remove it`,
    );
  for (const key of ['ExecStartPre', 'ExecStartPost'])
    for (const { value } of listOf([file], { section: 'Service', key }))
      if (/mk-docker-opts/.test(value))
        notes.push(`${source} runs mk-docker-opts.sh: weft's unit does so, remove the line`);
  return notes;
}

/** Docker refuses to start with an option in two places. */
async function jsonNotes({ files }: UnitReader): Promise<string[]> {
  const path = '/etc/docker/daemon.json';
  const text = await files.read(path);
  if (text === undefined) return [];
  try {
    const settings: unknown = JSON.parse(text);
    const names = Object.keys(settings instanceof Object ? settings : {});
    const twice = names.filter((name) => ['bip', 'mtu', 'ip-masq'].includes(name));
    return twice.length === 0
      ? []
      : [
          `${path} has ${twice.join(', ')}: take it out, $DOCKER_NETWORK_OPTIONS says it too, and Docker refuses both`,
        ];
  } catch {
    return [`${path} can not be read as JSON`];
  }
}
