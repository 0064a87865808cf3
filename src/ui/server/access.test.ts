import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Access, type Asker } from '#src/ui/server/access.ts';

const asker = (change: Partial<Asker> = {}): Asker => ({
  ...{ host: '127.0.0.1:8475', cookie: undefined, fetchSite: undefined, token: undefined },
  ...change,
});
const TOKEN = 'a-token-of-some-length';

test('without a token everybody is welcome who names an address or localhost', () => {
  const access = new Access(undefined, 8475);
  for (const host of ['127.0.0.1:8475', 'localhost:8475', '[::1]:8475', '10.0.0.1', 'LOCALHOST']) {
    assert.equal(access.judge(asker({ host })).kind, 'welcome', host);
  }
  for (const host of ['evil.example:8475', 'localhost.evil.example', '127.0.0.1.nip.io', '', undefined]) {
    const verdict = access.judge(asker({ host }));
    assert.equal(verdict.kind === 'refused' && verdict.status, 421, `${host}`);
  }
});

test('a page of another site is refused, though its request would only read', () => {
  const access = new Access(undefined, 8475);
  for (const fetchSite of ['cross-site', 'same-site']) {
    const verdict = access.judge(asker({ fetchSite }));
    assert.equal(verdict.kind === 'refused' && verdict.status, 403);
  }
  for (const fetchSite of ['same-origin', 'none']) {
    assert.equal(access.judge(asker({ fetchSite })).kind, 'welcome');
  }
});

test('with a token it is given once, and then the cookie is asked for', () => {
  const access = new Access(TOKEN, 8475);
  const given = access.judge(asker({ token: TOKEN }));
  assert.ok(given.kind === 'token-given');
  assert.equal(given.cookie, `weft-ui-8475=${TOKEN}; HttpOnly; SameSite=Strict; Path=/`);
  const cookie = given.cookie.split(';')[0];
  assert.equal(access.judge(asker({ cookie: `other=1; ${cookie}` })).kind, 'welcome');
  const wrong: Partial<Asker>[] = [
    {},
    { token: '' },
    { token: `${TOKEN}x` },
    { token: TOKEN.replace('a', 'b') },
    { cookie: `weft-ui-8475=${TOKEN}x` },
    { cookie: `weft-ui-1=${TOKEN}` },
  ];
  for (const change of wrong) {
    const verdict = access.judge(asker(change));
    assert.equal(verdict.kind === 'refused' && verdict.status, 401, JSON.stringify(change));
  }
});
