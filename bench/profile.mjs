/** `npm run profile`: sees that everything is there that a profile needs, and makes one (profile.ts). */
import { DISK, SERVER_AND_MOUNT, startMeasurement } from './starter.mjs';

await startMeasurement({
  name: 'profile',
  main: 'bench/profile.ts',
  needed: { ...SERVER_AND_MOUNT, ...DISK, git: 'git' },
  measures: !process.argv.slice(2).some((arg) => /^(--help|-h)$/.test(arg)),
  // No copy of the disk's mount keeps its loop device busy.
  privateMounts: true,
});
