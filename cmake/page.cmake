# The page: viewer/ (TypeScript) is bundled at build time and embedded in the library. (Filled in with the viewer.)
