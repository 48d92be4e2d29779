/** The suites that are run in full with other options. A file that sets the options imports it after that. */
await import('./files.test.js');
await import('./objects.test.js');
await import('./attributes.test.js');
await import('./directories.test.js');
await import('./names.test.js');
await import('./users.test.js');
