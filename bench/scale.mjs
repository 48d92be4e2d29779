/** `npm run scale`: sees that everything is there that it needs, and runs it (scale/main.ts). */
import { SERVER_AND_MOUNT, startMeasurement } from './starter.mjs';

await startMeasurement({
  name: 'scale',
  main: 'bench/scale/main.ts',
  needed: { ...SERVER_AND_MOUNT, python3: undefined },
  privateMounts: true,
  measures: !process.argv.slice(2).some((arg) => /^--help\b|^-h$/.test(arg)),
});
