/** The suites with all that is ahead of programs, or behind them, switched off: programs see the same results. */
import { SWITCHED_OFF } from '../support/switched-off.js';

process.env.NFS_FUSE_TEST_OPTIONS = SWITCHED_OFF.join(',');
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./usual-suites.js');
