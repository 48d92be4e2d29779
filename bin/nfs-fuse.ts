#!/usr/bin/env node
/** argv in, exit status out. */
import '../lib/mount/process/inspector-guard.js';
import { start } from '../lib/cli/start.js';

process.exit(await start(process.argv.slice(2)));
