/**
 * The rules of docs/architecture.md as functions of a table of rooms and of a tree of sources: which imports have no
 * arrow, which files and rooms form a circle, what has grown too large, and which names mean two things.
 */
import { dirname, join } from 'node:path/posix';
import ts from 'typescript';

/** A row of the tables in docs/architecture.md. Rooms are folders, from the project's root. */
export interface Room {
  readonly name: string;
  readonly sentence: string;
  /** Rooms or single files. */
  readonly mayImport: readonly string[];
}

/** Sources by their path from the project's root. */
export type Sources = ReadonlyMap<string, string>;

export interface Import {
  readonly from: string;
  readonly to: string;
}

const HEADER = /^\| room +\| what it does +\| may import +\|$/;

const inBackquotes = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);

/** The rows of every table with the columns room, what it does, may import. */
export function readRooms(markdown: string): Room[] {
  const rooms: Room[] = [];
  let inTable = false;
  for (const line of markdown.split('\n')) {
    if (HEADER.test(line)) inTable = true;
    else if (!line.startsWith('|')) inTable = false;
    else if (inTable && !line.startsWith('| --')) {
      const [, name = '', sentence = '', mayImport = ''] = line.split('|');
      const [room] = inBackquotes(name);
      if (room === undefined) throw new Error(`a row without a room: ${line}`);
      rooms.push({ name: room, sentence: sentence.trim(), mayImport: inBackquotes(mayImport) });
    }
  }
  return rooms;
}

/** Every import of a file of the project: import, export from, import(), and types that are written as import('…'). */
export function importsOf(from: string, text: string): Import[] {
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith('.'))
      return;
    imports.push({ from, to: join(dirname(from), specifier.text).replace(/\.js$/, '.ts') });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0]);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest, false));
  return imports;
}

export function allImports(sources: Sources): Import[] {
  return [...sources].flatMap(([path, text]) => importsOf(path, text));
}

const isWithin = (path: string, place: string): boolean => path === place || path.startsWith(`${place}/`);

/** `lib`, `lib/vfs` and `lib/vfs/cache`, of a file in the last of them. */
function foldersOf(file: string): string[] {
  const folders: string[] = [];
  for (let at = dirname(file); at !== '.'; at = dirname(at)) folders.unshift(at);
  return folders;
}

/** The room whose row decides about an import. Undefined: the import stays in its room, or goes down into it. */
function decidingRoom({ from, to }: Import): string | undefined {
  const here = foldersOf(from);
  const place = dirname(from);
  if (isWithin(dirname(to), place)) return undefined;
  // Below what they have in common, the outermost room of the importing file. For a parent's own file: the same.
  const common = here.filter((folder) => isWithin(to, folder)).length;
  return here[common] ?? place;
}

/** Imports that no arrow allows. */
export function forbiddenImports(rooms: readonly Room[], imports: readonly Import[]): Import[] {
  const byName = new Map(rooms.map((room) => [room.name, room]));
  return imports.filter((one) => {
    const deciding = decidingRoom(one);
    if (deciding === undefined) return false;
    return !byName.get(deciding)?.mayImport.some((place) => isWithin(one.to, place));
  });
}

/** Folders of lib without a row, rows without a folder, and arrows to places that are not there. */
export function unmatched(rooms: readonly Room[], sources: Sources): string[] {
  const folders = new Set([...sources.keys()].flatMap(foldersOf).filter((folder) => folder !== 'lib'));
  const rows = rooms.map((room) => room.name);
  const arrows = rooms.flatMap((room) => room.mayImport);
  return [
    ...[...folders].filter((folder) => !rows.includes(folder)).map((folder) => `${folder} has no row`),
    ...rows.filter((row) => !folders.has(row)).map((row) => `${row} has a row and no folder`),
    ...rows.filter((row, at) => rows.indexOf(row) !== at).map((row) => `${row} has two rows`),
    ...[...new Set(arrows)]
      .filter((place) => !folders.has(place) && !sources.has(place))
      .map((place) => `an arrow leads to ${place}, which is not there`),
  ];
}

/** The circles in a graph: groups of nodes each of which reaches every other (Tarjan's algorithm). */
export function circles(edges: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const index = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): number => {
    const own = index.size;
    index.set(node, own);
    let lowest = own;
    stack.push(node);
    for (const to of next.get(node) ?? []) {
      if (!index.has(to)) lowest = Math.min(lowest, visit(to));
      else if (stack.includes(to)) lowest = Math.min(lowest, index.get(to) ?? own);
      if (to === node) found.push([node]);
    }
    if (lowest === own) {
      const group = stack.splice(stack.indexOf(node));
      if (group.length > 1) found.push(group.sort());
    }
    return lowest;
  };
  for (const node of next.keys()) if (!index.has(node)) visit(node);
  return found;
}

/**
 * The circles among the arrows of the tables. A room leads to its sub-rooms, and from a
 * sub-room the arrows of the room around it lead on. An arrow to a file leads to the room of the file, but for a file
 * of the room around the importing one.
 */
export function circlesOfRooms(rooms: readonly Room[]): string[][] {
  const roomOf = (place: string): string => (place.endsWith('.ts') ? dirname(place) : place);
  return circles(
    rooms.flatMap(({ name, mayImport }) => {
      const inner = rooms.map((room) => room.name).filter((other) => other !== name && isWithin(other, name));
      return [
        ...inner.map((to) => ({ from: name, to })),
        ...[name, ...inner].flatMap((from) =>
          mayImport
            .map((place) => ({ from, to: roomOf(place) }))
            .filter(({ to }) => to !== name && !isWithin(name, to)),
        ),
      ];
    }),
  );
}

/** Files of lib with more lines than that, and folders with more files of their own. */
export function tooLarge(sources: Sources, maxLines: number, maxFiles: number): string[] {
  const large: string[] = [];
  const files = new Map<string, number>();
  for (const [path, text] of sources) {
    if (!isWithin(path, 'lib')) continue;
    files.set(dirname(path), (files.get(dirname(path)) ?? 0) + 1);
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    if (lines > maxLines) large.push(`${path} has ${lines} lines`);
  }
  for (const [folder, count] of files) if (count > maxFiles) large.push(`${folder} has ${count} files`);
  return large;
}

/** Names that occur at several places, with the places. */
function repeated(places: readonly (readonly [name: string, place: string])[]): string[] {
  const byName = new Map<string, string[]>();
  for (const [name, place] of places) byName.set(name, [...(byName.get(name) ?? []), place]);
  return [...byName]
    .filter(([, where]) => where.length > 1)
    .map(([name, where]) => `${name}: ${where.sort().join(', ')}`)
    .sort();
}

/** Names of files that occur in several folders, without index.ts. */
export function repeatedFileNames(sources: Sources): string[] {
  return repeated(
    [...sources.keys()]
      .map((path) => [path.slice(path.lastIndexOf('/') + 1), path] as const)
      .filter(([name]) => name !== 'index.ts'),
  );
}

/** Classes, interfaces, types and enumerations that several files export under one name. */
export function repeatedTypeNames(sources: Sources): string[] {
  const declared: (readonly [string, string])[] = [];
  for (const [path, text] of sources) {
    for (const statement of ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false).statements) {
      const isType =
        ts.isClassDeclaration(statement) ||
        ts.isInterfaceDeclaration(statement) ||
        ts.isTypeAliasDeclaration(statement) ||
        ts.isEnumDeclaration(statement);
      if (!isType || statement.name === undefined) continue;
      const isExported = statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
      if (isExported) declared.push([statement.name.text, path]);
    }
  }
  return repeated(declared);
}
