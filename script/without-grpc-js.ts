/**
 * Takes gRPC's library out of what ts-proto writes: the clients and the servers' types. What stays are the messages and, of
 * each method, its path and how its messages are written and read.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const [file = ''] = process.argv.slice(2);
const text = readFileSync(file, 'utf8')
  .replace(/^import \{[^}]*\} from "@grpc\/grpc-js";\n/m, '')
  .replaceAll(/^export interface \w+Server extends UntypedServiceImplementation \{\n[\s\S]*?^\}\n\n/gm, '')
  .replaceAll(/^export interface \w+Client extends Client \{\n[\s\S]*?^\}\n\n/gm, '')
  .replaceAll(/^export const \w+Client = makeGenericClientConstructor\([\s\S]*?^\};\n\n/gm, '');
writeFileSync(file, text);
