export type Child = Node | string | undefined;
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

const SVG = 'http://www.w3.org/2000/svg';

function fill<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** An attribute that is false or absent is removed. */
export function setAttribute(element: Element, name: string, value: Attributes[string]): void {
  if (value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** An element of HTML. Text is text: nothing in it is read as HTML. */
export const html = <Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] => fill(document.createElement(name), attributes, children);

export const svg = <Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[Name] => fill(document.createElementNS(SVG, name), attributes, children);

/** Writes only what is another text: a reader's place and selection stay. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** `<label>` with its field in it. */
export const labelled = (text: string, field: HTMLElement): HTMLLabelElement =>
  html('label', {}, text, field);

/** A `<select>` whose options are renewed only when they are others. */
export function setOptions(
  select: HTMLSelectElement,
  options: readonly (readonly [value: string, text: string])[],
): void {
  const key = JSON.stringify(options);
  if (select.dataset.options === key) return;
  const { value } = select;
  select.dataset.options = key;
  select.replaceChildren(...options.map(([value, text]) => html('option', { value }, text)));
  if (options.some(([known]) => known === value)) select.value = value;
}

export const stateMark = (state: string, words: string): HTMLSpanElement =>
  html('span', { class: 'state', 'data-state': state }, words);

export const clockTime = (iso: string): string => new Date(iso).toLocaleTimeString('en-GB');
