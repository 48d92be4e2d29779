/** `npm run soak`: sees that everything is there that a long run needs, and runs it (soak/main.ts). */
import { SERVER_AND_MOUNT, startMeasurement } from './starter.mjs';

await startMeasurement({
  name: 'soak',
  main: 'bench/soak/main.ts',
  needed: SERVER_AND_MOUNT,
  privateMounts: true,
  measures: !process.argv.slice(2).some((arg) => /^--help\b|^-h$/.test(arg)),
});
