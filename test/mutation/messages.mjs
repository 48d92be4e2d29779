/**
 * Leaves the words of messages alone: tests say which errors there are and which lines are logged, and not every word
 * of them. The calls themselves are mutated like everything else.
 */
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';

const LOGS = /^(info|warn|error|debug|once|log)$/;

/** A text, or a part of one that is put together with "+". */
const isText = (path) => path.isStringLiteral() || path.isTemplateLiteral();

/** Whether what is called writes to a log or makes an error, now or when patience ends. */
function takesMessage(path) {
  if (path.isNewExpression()) return /(Error|Patience)$/.test(path.node.callee.name ?? '');
  if (!path.isCallExpression()) return false;
  const { callee } = path.node;
  return LOGS.test(callee.property?.name ?? callee.name ?? '');
}

function shouldIgnore(path) {
  if (!isText(path)) return undefined;
  let outer = path.parentPath;
  while (outer !== null && (outer.isBinaryExpression() || isText(outer) || outer.isConditionalExpression()))
    outer = outer.parentPath;
  return outer !== null && takesMessage(outer) ? 'the words of a message' : undefined;
}

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, 'messages', { shouldIgnore })];
