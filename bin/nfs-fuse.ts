#!/usr/bin/env node
/** The program that users start. The build makes a bundle of it, since to find and read hundreds of files takes long. */
import '../lib/cli/start/whole-program.js';
