import assert from 'node:assert/strict';
import { relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  isBinaryExpression,
  isCallExpression,
  isPropertyAccessExpression,
  isTemplateSpan,
  type Node,
  type SourceFile,
} from 'typescript/unstable/ast';
import { API, type Checker } from 'typescript/unstable/sync';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Values that a text shows as one great number, or as "[object Object]". */
const RAW = /\b(Ipv4|Ipv6|Ip|Prefix4|Prefix6|Prefix)\b/;

/** The expressions whose values become text here: in a template, beside a `+`, in String(…), before .join(…). */
function textOf(node: Node, typeOf: (node: Node) => string): readonly Node[] {
  if (isTemplateSpan(node)) return [node.expression];
  if (isBinaryExpression(node))
    return typeOf(node) === 'string' && typeOf(node.left) === 'string' ? [node.right] : [];
  if (!isCallExpression(node)) return [];
  const { expression } = node;
  if (expression.getText() === 'String') return node.arguments;
  return isPropertyAccessExpression(expression) && ['join', 'toString'].includes(expression.name.text)
    ? [expression.expression]
    : [];
}

function rawValuesIn(file: SourceFile, checker: Checker): string[] {
  const found: string[] = [];
  const typeOf = (node: Node): string => {
    const type = checker.getTypeAtLocation(node);
    return type === undefined ? '' : checker.typeToString(type);
  };
  const visit = (node: Node): void => {
    for (const value of textOf(node, typeOf)) {
      const type = typeOf(value);
      if (!RAW.test(type)) continue;
      const line = file.text.slice(0, value.end).split('\n').length;
      found.push(`${relative(ROOT, file.fileName)}:${line}: ${value.getText()} is ${type}`);
    }
    node.forEachChild(visit);
  };
  visit(file);
  return found;
}

test('no text shows an address or a prefix as a number: formatIp and formatPrefix are for that', () => {
  const api = new API({ cwd: ROOT });
  try {
    const [project] = api.updateSnapshot({ openProjects: [`${ROOT}tsconfig.json`] }).getProjects();
    assert.ok(project);
    const names = project.program.getSourceFileNames().filter((name) => name.startsWith(`${ROOT}src/`));
    assert.ok(names.length > 100);
    const found = names.flatMap((name) => {
      const file = project.program.getSourceFile(name);
      return file === undefined ? [] : rawValuesIn(file, project.checker);
    });
    // lib/ip.ts is where they become text.
    assert.deepEqual(
      found.filter((text) => !text.startsWith('src/lib/ip.ts')),
      [],
    );
  } finally {
    api.close();
  }
});
