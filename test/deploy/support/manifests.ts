/** The manifests in deploy/, read; and a judge of their fields: the types of the Kubernetes API, by the TypeScript compiler. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';
import { projectRoot } from '../../support/project.js';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: object };
  readonly [field: string]: unknown;
}

export const DEPLOY = join(projectRoot, 'deploy');

/** The documents of a text. @throws Error for what is no YAML, or has warnings */
export function manifestsIn(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw problem;
    return document.toJS() as Manifest;
  });
}

export function yamlFiles(folder: string): string[] {
  return readdirSync(join(DEPLOY, folder))
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => join(DEPLOY, folder, name));
}

/** The manifests of a folder, without kustomization.yaml. */
export function manifestsOf(folder: string): Manifest[] {
  return yamlFiles(folder)
    .filter((file) => !file.endsWith('kustomization.yaml'))
    .flatMap((file) => manifestsIn(readFileSync(file, 'utf8')));
}

/** The group's module in kubernetes-types: "apps/v1", "core/v1". */
function moduleOf(apiVersion: string): string {
  const [group = '', version] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion];
  return `kubernetes-types/${group.replace(/\..*$/, '')}/${version}.js`;
}

/** The complaints of the compiler about manifests as objects of the API's types: unknown fields, missing ones, wrong types. */
export function complaints(manifests: readonly Manifest[]): string[] {
  const lines = manifests.map(
    (manifest, index) =>
      `export const m${index}: import('${moduleOf(manifest.apiVersion)}').${manifest.kind} = ${JSON.stringify(manifest, undefined, 1)};`,
  );
  const file = join(projectRoot, 'test/deploy/manifests.generated.ts');
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, target) =>
    name === file
      ? ts.createSourceFile(name, lines.join('\n'), target)
      : getSourceFile.call(host, name, target);
  const program = ts.createProgram([file], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .map((found) => ts.flattenDiagnosticMessageText(found.messageText, '\n'));
}
