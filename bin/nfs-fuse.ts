#!/usr/bin/env node
/** argv in, exit status out. */
import { main } from '../lib/cli/main.js';

process.exit(await main(process.argv.slice(2)));
