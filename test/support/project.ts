/** Where the project, the built product and the compiled test helpers are. */
import { fileURLToPath } from 'node:url';

/** The project's folder, without a slash at the end. */
export const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** The folder of the helper programs that the test set-up compiled. */
export const helperFolder = `${projectRoot}/node_modules/.cache/nfs-fuse-test`;

/** Programs in Python that do what Node cannot: see agent.py. */
export const python = '/usr/bin/python3';
