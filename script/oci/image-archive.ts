import { ARCHITECTURES, type Architecture } from '../architectures.ts';
import { sha256Of } from '../checksums.ts';
import { type Layer, LayerTree } from './layer.ts';
import { writeTar } from './tar.ts';

/** An image of one architecture. */
export interface Image {
  readonly architecture: Architecture;
  readonly config: Readonly<Record<string, unknown>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly layers: readonly Layer[];
  /** Its bill of materials, CycloneDX as JSON. */
  readonly sbom: string;
}

export interface ArchiveOptions {
  /** `weft:0.1.0` */
  readonly name: string;
  readonly mtime: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly [field: string]: unknown;
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const SBOM = 'application/vnd.cyclonedx+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';

/**
 * A tar archive of an OCI image layout (image-spec 1.1, image-layout.md). With one image it holds Docker's own
 * manifest.json too, by which engines before 25 load it; several are one image with several platforms.
 */
export function imageArchive(images: readonly Image[], options: ArchiveOptions): Buffer {
  const archive = new Archive(options.mtime);
  const written = images.map((image) => archive.image(image));
  const tag = options.name.slice(options.name.lastIndexOf(':') + 1);
  const annotations = {
    'io.containerd.image.name': `docker.io/library/${options.name}`,
    'org.opencontainers.image.ref.name': tag,
  };
  const [only, ...more] = written;
  if (only === undefined) throw new Error('an archive without an image');
  // Platforms first: an engine that takes any takes the first.
  const manifests = [...written.map(({ manifest }) => manifest), ...written.map(({ sbom }) => sbom)];
  const named = { ...archive.json(INDEX, indexOf(manifests)), annotations };
  archive.text('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  archive.text('index.json', JSON.stringify(indexOf([named])));
  if (more.length === 0) {
    const Layers = only.layers.map(pathOf);
    archive.text(
      'manifest.json',
      JSON.stringify([{ Config: pathOf(only.config), RepoTags: [options.name], Layers }]),
    );
  }
  return archive.tar();
}

const indexOf = (manifests: readonly Descriptor[]): object => ({
  schemaVersion: 2,
  mediaType: INDEX,
  manifests,
});

class Archive {
  readonly #tree: LayerTree;

  constructor(mtime: number) {
    this.#tree = new LayerTree({ mtime });
  }

  image(image: Image) {
    const { architecture, annotations } = image;
    const config = this.json(CONFIG, image.config);
    const layers = image.layers.map(({ blob }) => this.blob(LAYER, blob));
    const manifest = this.json(MANIFEST, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config,
      layers,
      annotations,
    });
    const platform = {
      architecture: ARCHITECTURES[architecture].debian,
      os: 'linux',
      ...(architecture === 'arm64' && { variant: 'v8' }),
    };
    return { config, layers, manifest: { ...manifest, platform }, sbom: this.#sbom(image.sbom, manifest) };
  }

  /** An artifact that refers to the image: registries list it among the image's referrers. */
  #sbom(text: string, subject: Descriptor): Descriptor {
    const manifest = this.json(MANIFEST, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType: SBOM,
      config: this.blob(EMPTY, Buffer.from('{}')),
      layers: [this.blob(SBOM, Buffer.from(text))],
      subject,
    });
    // Of no platform, so that no engine takes it for an image to run.
    const platform = { architecture: 'unknown', os: 'unknown' };
    return { ...manifest, artifactType: SBOM, platform };
  }

  json(mediaType: string, value: object): Descriptor {
    return this.blob(mediaType, Buffer.from(JSON.stringify(value)));
  }

  blob(mediaType: string, data: Buffer): Descriptor {
    const descriptor = { mediaType, digest: `sha256:${sha256Of(data)}`, size: data.length };
    // Two architectures share what is the same.
    if (!this.#tree.has(pathOf(descriptor))) this.#tree.file(pathOf(descriptor), data);
    return descriptor;
  }

  text(path: string, text: string): void {
    this.#tree.file(path, text);
  }

  tar(): Buffer {
    return writeTar(this.#tree.entries());
  }
}

const pathOf = ({ digest }: Descriptor): string => `blobs/${digest.replace(':', '/')}`;
