/** `nfs-fuse check` tells whether the groups of callers can be read here. */
import t from 'tap';
import { type CallersView, callersHere, callersVerdict } from '../../lib/check/callers.js';

const PROC = '22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw';
const MACHINE: CallersView = {
  allowOther: true,
  unseenGroups: [],
  pidNamespace: 'pid:[4026531836]',
  mountinfo: `21 1 8:1 / / rw - ext4 /dev/sda1 rw\n${PROC}\n`,
  isRoot: false,
};

t.test('check reports that on the machine itself the groups of every caller can be read', (t) => {
  t.match(callersVerdict(MACHINE), { result: 'ok', message: /every caller can be read/ });
  t.end();
});

t.test('check mentions groups= in a container, and says that it counts where it is given', (t) => {
  const container = { ...MACHINE, pidNamespace: 'pid:[4026532999]' };
  t.match(callersVerdict(container), { result: 'ok', message: /outside .*groups=GID:GID/ });
  t.match(callersVerdict({ ...container, unseenGroups: [5, 6] }), {
    result: 'ok',
    message: /^groups=5:6 counts/,
  });
  t.end();
});

t.test('check warns of a /proc that hides other users’ processes if other users may use the mount', (t) => {
  for (const value of ['2', '1', 'invisible', 'ptraceable']) {
    const hidden = {
      ...MACHINE,
      mountinfo: MACHINE.mountinfo.replace('proc rw\n', `proc rw,hidepid=${value}\n`),
    };
    t.match(callersVerdict(hidden), { result: 'warning', remedy: /groups=GID:GID/ }, value);
    t.match(callersVerdict({ ...hidden, allowOther: false }), { result: 'ok' });
    t.match(callersVerdict({ ...hidden, isRoot: true }), { result: 'ok' }, 'root sees them');
    t.match(callersVerdict({ ...hidden, unseenGroups: [5] }), { result: 'ok' });
  }
  for (const value of ['0', 'off']) {
    const open = {
      ...MACHINE,
      mountinfo: MACHINE.mountinfo.replace('proc rw\n', `proc rw,hidepid=${value}\n`),
    };
    t.match(callersVerdict(open), { result: 'ok' }, value);
  }
  t.end();
});

t.test('callersHere examines this machine', (t) => {
  t.match(callersHere(true, [7]), { result: 'ok', message: /groups=7/ });
  t.match(callersHere(false, []).message, /can be read/);
  t.end();
});
