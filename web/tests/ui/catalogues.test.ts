// Both languages say the same things, the code asks for nothing else, and no sentence hides in the components.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import en from "../../src/i18n/en.json";
import it from "../../src/i18n/it.json";

interface Tree {
  [key: string]: string | Tree;
}

function flatten(tree: Tree, prefix = ""): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [key, value] of Object.entries(tree)) {
    if (typeof value === "string") flat.set(prefix + key, value);
    else for (const [inner, text] of flatten(value, `${prefix}${key}.`)) flat.set(inner, text);
  }
  return flat;
}

function sources(folder: string): { path: string; text: string }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name) && !name.endsWith(".d.ts"))
    .map((name) => ({ path: name, text: readFileSync(join(folder, name), "utf8") }));
}

const SRC = join(import.meta.dirname, "../../src");
const catalogues = { en: flatten(en), it: flatten(it) };
const keys = [...catalogues.en.keys()];
const placeholders = (text: string): string[] => (text.match(/\{\{\w+\}\}/g) ?? []).sort();
const code = sources(SRC);

/** Keys as the code writes them: `t("a.b")`, `t(x ? "a" : "b")`, t(`a.${b}.c`). A `${}` stands for one step of a key. */
function askedFor(text: string): RegExp[] {
  return [...text.matchAll(/(["`])([a-z][A-Za-z]*(?:\.(?:[\w-]+|\$\{[^}]+\}))+)\1/g)].map(([, , key]) => {
    const pattern = (key ?? "")
      .split(/\$\{[^}]+\}/)
      .map((part) => part.replaceAll(".", "\\."))
      .join("[\\w-]+");
    return new RegExp(`^${pattern}(?:_one|_other)?$`);
  });
}

describe("catalogues", () => {
  test("hold the same keys in both languages", () => {
    expect([...catalogues.it.keys()].sort()).toEqual([...keys].sort());
  });

  test.each(keys)("%s has the same placeholders in both languages and is not empty", (key) => {
    const [english, italian] = [catalogues.en.get(key) ?? "", catalogues.it.get(key) ?? ""];
    expect(english.trim()).not.toBe("");
    expect(italian.trim()).not.toBe("");
    expect(placeholders(italian)).toEqual(placeholders(english));
  });

  test("a plural has both its forms", () => {
    const stems = keys.filter((key) => /_(one|other)$/.test(key)).map((key) => key.replace(/_(one|other)$/, ""));
    for (const stem of stems) expect(keys).toEqual(expect.arrayContaining([`${stem}_one`, `${stem}_other`]));
  });

  test("hold no key that nothing asks for", () => {
    const asked = code.flatMap(({ text }) => askedFor(text));
    expect(keys.filter((key) => !asked.some((pattern) => pattern.test(key)))).toEqual([]);
  });

  test("the code asks for no key that is missing", () => {
    const missing = code.flatMap(({ path, text }) => {
      const called = [...text.matchAll(/\bt\(\s*(?:[^"`()]*\?\s*)?(["`][^"`]+["`])(?:\s*:\s*(["`][^"`]+["`]))?/g)];
      return called
        .flatMap(([, first, second]) => [first, second])
        .flatMap((literal) => (literal ? askedFor(literal) : []))
        .filter((pattern) => !keys.some((key) => pattern.test(key)))
        .map((pattern) => `${path}: ${pattern.source}`);
    });
    expect(missing).toEqual([]);
  });
});

describe("components", () => {
  const components = code.filter(({ path }) => path.endsWith(".tsx"));

  test("there are components to look at", () => {
    expect(components.length).toBeGreaterThan(15);
  });

  test.each(components)("$path shows no words but the catalogues'", ({ text }) => {
    const withoutComments = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
    const betweenTags = [...withoutComments.matchAll(/<\/?[a-z][\w.]*(?:\s[^<>]*)?>([^<>{}=;()]*[A-Za-z]{2,}[^<>{}=;()]*)<\//g)].map(([, words]) => words?.trim());
    const inAttributes = [
      ...withoutComments.matchAll(/\b(?:aria-label|title|placeholder|alt|label|legend|aria-description|aria-roledescription)="([^"]*[A-Za-z][^"]*)"/g),
    ].map(([, words]) => words);
    expect([...betweenTags, ...inAttributes]).toEqual([]);
  });
});
