// Names that nobody defined, variables that nobody reads, and the other mistakes a browser tells only the user about.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "module",
      globals: { ...globals.browser, htmx: "readonly", uPlot: "readonly" },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error", "no-implied-eval": "error" },
  },
];
