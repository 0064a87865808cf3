/** Runs in the page. What a reader with a keyboard, a screen reader or weak eyes would stumble over. */
export function faultsOfPage(): string[] {
  const faults: string[] = [];
  const all = <E extends Element = HTMLElement>(selector: string) =>
    [...document.querySelectorAll<E>(selector)].filter((it) => it.closest('[aria-hidden=true]') === null);
  const nameOf = (it: Element): string =>
    it.getAttribute('aria-label') ??
    document.getElementById(it.getAttribute('aria-labelledby') ?? '')?.textContent ??
    (it as HTMLInputElement).labels?.[0]?.textContent ??
    it.textContent ??
    '';
  for (const [what, count] of [
    ['h1', all('h1').length],
    ['main', all('main').length],
    ['nav', all('nav[aria-label]').length],
    ['header', all('body > header').length],
    ['live region', all('[aria-live]').length],
  ] as const) {
    if (count !== 1) faults.push(`${count} times ${what}`);
  }
  if (document.documentElement.lang !== 'en') faults.push('no language');
  for (const it of all(
    'a, button, input, select, [role=button], [role=img], [role=log], [role=list], section, canvas',
  )) {
    if (nameOf(it).trim() === '') faults.push(`${it.outerHTML.slice(0, 80)} has no name`);
  }
  for (const it of all('[tabindex]')) if (it.tabIndex > 0) faults.push('an order of its own for Tab');
  for (const it of all('th')) if (it.getAttribute('scope') === null) faults.push('th without scope');
  for (const it of all('table'))
    if (it.querySelector('caption') === null) faults.push('table without caption');
  const ids = all('[id]').map(({ id }) => id);
  if (new Set(ids).size !== ids.length) faults.push('one id twice');
  const luminance = (colour: string): number => {
    const [r = 0, g = 0, b = 0] = (/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)/.exec(colour) ?? [])
      .slice(1)
      .map((text) => Number(text) / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (it: Element | null): string => {
    const colour = it === null ? 'rgb(255, 255, 255)' : getComputedStyle(it).backgroundColor;
    return /, 0\)$/.test(colour) ? groundOf(it?.parentElement ?? null) : colour;
  };
  // WCAG 2.2, 1.4.3
  for (const it of all('body *')) {
    const text = [...it.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim() !== '',
    );
    if (
      !text ||
      it.closest('.unseen, noscript, svg, script, :disabled') !== null ||
      it.getClientRects().length === 0
    )
      continue;
    const [a, b] = [luminance(getComputedStyle(it).color), luminance(groundOf(it))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)} of "${it.textContent?.slice(0, 30)}"`);
  }
  return faults;
}
