/** Which keys a map of the file may have, read off the schema: for sentences about keys that are not among them. */
import { z } from "zod";
import { configSchema } from "./schema.js";

/** The keys that the map at this path may have; of several possible shapes, those of all. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  let schemas: readonly unknown[] = [configSchema];
  for (const part of path) {
    schemas = schemas.flatMap(shapesOf).flatMap((schema) => inside(schema, part));
  }
  const keys = schemas
    .flatMap(shapesOf)
    .flatMap((schema) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []));
  return [...new Set(keys)];
}

/** What a schema is once its defaults and conversions are taken off, and its alternatives apart. */
function shapesOf(schema: unknown): readonly unknown[] {
  if (schema instanceof z.ZodUnion) {
    return schema.options.flatMap(shapesOf);
  }
  if (schema instanceof z.ZodPipe) {
    return shapesOf(schema.in);
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return shapesOf(schema.unwrap());
  }
  return [schema];
}

function inside(schema: unknown, part: PropertyKey): readonly unknown[] {
  if (schema instanceof z.ZodArray) {
    return [schema.element];
  }
  if (schema instanceof z.ZodRecord) {
    return [schema.valueType];
  }
  const shape: Readonly<Record<PropertyKey, unknown>> = schema instanceof z.ZodObject ? schema.shape : {};
  return Object.hasOwn(shape, part) ? [shape[part]] : [];
}
