/** What a mounter answers to questions that its driver would not ask, and that such questions harm nobody. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { ask, Mounter } from './support/mounter.js';

const place = untilEnd(t, await openPlace('root'));
const mounter = untilEnd(t, await new Mounter(place, join(place.folder, 'states')).start());
const { socket } = mounter;
const nothing = openSync('/dev/null', 'r');
t.teardown(() => closeSync(nothing));

const serve = (change: object = {}) => ({
  serve: { place: '/place', target: 'server:/export', options: ['ro'], ...change },
});
const settle = { settle: { place: '/place' } };

t.test('words that no program can be given are no question', async (t) => {
  for (const change of [{ options: ['x-a\0b'] }, { target: 'server:/\0' }, { place: '/\0' }, { options: [7] }])
    t.match(await ask(socket, serve(change), nothing), { failed: /no question/ });
  t.match(await ask(socket, settle), { done: true }, 'it goes on');
});

t.test('a descriptor that is no mount fails in the words of nfs-fuse mount', async (t) => {
  t.match(await ask(socket, serve(), nothing), { failed: /descriptor 3 is not \/dev\/fuse/i });
  t.match(await ask(socket, serve()), { failed: /No descriptor has come along/ });
  t.match(await ask(socket, settle), { done: true }, 'nothing of it is left');
});
