// Made by build.mjs out of node_modules: the notices that the licences of the packages in the bundle ask for.
declare module 'notices' {
  /** Each text once, with the packages that it is of, "preact 11.2.0". */
  export const notices: readonly { packages: string; text: string }[];
}
