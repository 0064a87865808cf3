/**
 * ICU's data inside of Node: 33 MB, with the words and rules of some 500 languages, of which no program of this project
 * says anything. What stays is what Node's own build with `--with-intl=small-icu` has, less what is for other character
 * sets: the root and English, time zones, collation, normalization.
 *
 * The package's form is ICU's common data (`icupkg`, source/common/ucmndata.h, format "CmnD"): a header, the count of the
 * items, for each the offset of its name and of its bytes, the names, and the items at multiples of 16. Offsets count
 * from the count.
 */
const FORMAT = 'CmnD';
const FORMAT_AT = 12;
const ALIGN = 16;
/** Between the items, as icupkg writes it. */
const PADDING = 0xaa;

export interface IcuItem {
  /** Such as `coll/en.res`, without the name of the package. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** What Node calls the data that are linked into it: the name has ICU's first number. */
export const icuSymbol = (): string => `icudt${parseInt(process.versions.icu ?? '', 10)}_dat`;

/** All items, in their order. */
export function readIcuData(data: Buffer): { header: Buffer; folder: string; items: IcuItem[] } {
  const headerBytes = data.readUInt16LE(0);
  if (data.toString('latin1', FORMAT_AT, FORMAT_AT + FORMAT.length) !== FORMAT) {
    throw new Error('this is no data of ICU, or in a form of another version');
  }
  const table = data.subarray(headerBytes);
  const count = table.readUInt32LE(0);
  const places = Array.from({ length: count }, (_, index) => {
    const nameAt = table.readUInt32LE(4 + 8 * index);
    return {
      path: table.toString('latin1', nameAt, table.indexOf(0, nameAt)),
      at: table.readUInt32LE(8 + 8 * index),
    };
  });
  const folder = places[0]?.path.split('/')[0] ?? '';
  const items = places.map(({ path, at }, index) => ({
    name: path.slice(folder.length + 1),
    bytes: table.subarray(at, places[index + 1]?.at),
  }));
  return { header: data.subarray(0, headerBytes), folder, items };
}

/** The package with the items that are `wanted`. */
export function trimIcuData(data: Buffer, wanted: (name: string) => boolean = isWanted): Buffer {
  const { header, folder, items } = readIcuData(data);
  const kept = items.filter(({ name }) => wanted(name));
  const names = kept.map(({ name }) => Buffer.from(`${folder}/${name}\0`, 'latin1'));
  const table = Buffer.alloc(4 + 8 * kept.length);
  table.writeUInt32LE(kept.length, 0);
  let nameAt = table.length;
  for (const [index, name] of names.entries()) {
    table.writeUInt32LE(nameAt, 4 + 8 * index);
    nameAt += name.length;
  }
  const parts = [header, table, ...names];
  let at = nameAt;
  for (const [index, { bytes }] of kept.entries()) {
    const padding = -at & (ALIGN - 1);
    at += padding;
    table.writeUInt32LE(at, 8 + 8 * index);
    at += bytes.length;
    parts.push(Buffer.alloc(padding, PADDING), bytes);
  }
  return Buffer.concat(parts);
}

/** Another language: `de.res`, `coll/zh_Hant.res`. The names of what all languages share are longer. */
const LANGUAGE = /^(?:.*\/)?(?!en\b|en_|res_index)[a-z]{2,3}(?:_\w*)?\.(?:res|brk)$/;
/** Character sets; strings of protocols; names of characters; transliteration; words of scripts without spaces. */
const OTHER =
  /\.(?:cnv|spp|cfu|dict)$|^(?:cnvalias|unames)\.icu$|^translit\/|^brkitr\/(?:\w+_(?:cj|loose|normal|el)|title)/;

const isWanted = (name: string): boolean => !LANGUAGE.test(name) && !OTHER.test(name);
