import type { ChangePhase } from '#src/network/change-plan.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';

/** What a lease says of its host's backend. */
export type BackendAttributes = Pick<LeaseAttributes, 'backendType' | 'backendData' | 'backendV6Data'>;

/** What a node says of a change that is under way, in `Weft.Change` of its lease. flannel ignores it. */
export interface ChangeMember {
  /** The plan's. */
  readonly id: string;
  /** The phase that the node has put in force; absent where it can't take part. */
  readonly phase?: ChangePhase;
  /** What it publishes of the path beside that of the lease itself: the path is in its kernel, and packets may come by it. */
  readonly other?: BackendAttributes;
  /** With so many of its peers the node is done in this phase. */
  readonly done: number;
  readonly of: number;
  /** Some of the others, by their leases' names, with the reason. */
  readonly waits: Readonly<Record<string, string>>;
  /** Why the node can't do its part. */
  readonly trouble?: string;
  /** `rp_filter` as it was before the change, of devices that were there before it: they get it back. */
  readonly reversePath?: Readonly<Record<string, string>>;
}

/** The member's name in `Weft`. */
export const CHANGE_IN_LEASE = 'Change';

/** So many peers are named: a lease has room for no list of all. */
export const MOST_WAITS = 8;
const LONGEST_TEXT = 200;
const PHASES: readonly string[] = ['prepare', 'moving', 'settling', 'aborted'] satisfies ChangePhase[];

/** Reads the member. Values come from strangers: what can't be read is absent. */
export function readChangeMember({ weft }: Pick<LeaseAttributes, 'weft'>): ChangeMember | undefined {
  const object = weft?.[CHANGE_IN_LEASE];
  if (!isJsonObject(object)) return undefined;
  const id = textOf(fieldOf(object, 'Id'));
  if (id === undefined) return undefined;
  const phase = PHASES.find((one): one is ChangePhase => one === fieldOf(object, 'Phase'));
  const other = readOther(fieldOf(object, 'Other'));
  const trouble = textOf(fieldOf(object, 'Trouble'));
  const reversePath = readTexts(fieldOf(object, 'RpFilter'));
  return {
    id,
    ...(phase !== undefined && { phase }),
    ...(other !== undefined && { other }),
    done: countOf(fieldOf(object, 'Done')),
    of: countOf(fieldOf(object, 'Of')),
    waits: readTexts(fieldOf(object, 'Waits')),
    ...(trouble !== undefined && { trouble }),
    ...(Object.keys(reversePath).length > 0 && { reversePath }),
  };
}

/** `{"Id":"…","Phase":"moving","Other":{"BackendType":"vxlan","BackendData":{…}},"Done":3,"Of":4,"Waits":{"10.0.4.0-24":"…"}}` */
export function writeChangeMember(member: ChangeMember): Json {
  const { id, phase, other, done, of, waits, trouble, reversePath = {} } = member;
  const named = Object.entries(waits).slice(0, MOST_WAITS);
  return {
    Id: id,
    ...(phase !== undefined && { Phase: phase }),
    ...(other !== undefined && { Other: writeOther(other) }),
    Done: done,
    Of: of,
    ...(named.length > 0 && { Waits: Object.fromEntries(named) }),
    ...(trouble !== undefined && { Trouble: trouble.slice(0, LONGEST_TEXT) }),
    ...(Object.keys(reversePath).length > 0 && { RpFilter: reversePath }),
  };
}

/** Attributes that say why their host can't take part in a plan, or no more of it; `undefined` where they say so already. */
export function withRefusal(
  attributes: LeaseAttributes,
  plan: { readonly id: string } | undefined,
  why: string,
): LeaseAttributes | undefined {
  const { [CHANGE_IN_LEASE]: said, ...others } = attributes.weft ?? {};
  if (plan === undefined && said === undefined) return undefined;
  const { weft: _, ...rest } = attributes;
  const trouble = plan && { id: plan.id, done: 0, of: 0, waits: {}, trouble: why };
  const weft = { ...others, ...(trouble && { [CHANGE_IN_LEASE]: writeChangeMember(trouble) }) };
  return { ...rest, ...(Object.keys(weft).length > 0 && { weft }) };
}

function readOther(value: Json | undefined): BackendAttributes | undefined {
  if (!isJsonObject(value)) return undefined;
  const [backendData, backendV6Data] = [fieldOf(value, 'BackendData'), fieldOf(value, 'BackendV6Data')];
  return {
    backendType: textOf(fieldOf(value, 'BackendType')) ?? '',
    ...(backendData !== undefined && { backendData }),
    ...(backendV6Data !== undefined && { backendV6Data }),
  };
}

const writeOther = ({ backendType, backendData, backendV6Data }: BackendAttributes): Json => ({
  ...(backendType !== '' && { BackendType: backendType }),
  ...(backendData !== undefined && { BackendData: backendData }),
  ...(backendV6Data !== undefined && { BackendV6Data: backendV6Data }),
});

function readTexts(value: Json | undefined): Readonly<Record<string, string>> {
  if (!isJsonObject(value)) return {};
  const texts = Object.entries(value).slice(0, MOST_WAITS);
  return Object.fromEntries(texts.map(([name, text]) => [name.slice(0, LONGEST_TEXT), textOf(text) ?? '']));
}

const textOf = (value: Json | undefined): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, LONGEST_TEXT) : undefined;

const countOf = (value: Json | undefined): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
