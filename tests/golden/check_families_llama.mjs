// Runs tests/golden/families/*.gguf.gz in llama.cpp and prints how far its log probabilities are from those of
// transformers, as a share of the row's largest logit, one number a golden row. By hand, and not a test: it needs
// node-llama-cpp, a build of llama.cpp from npm (llama-cpp-python has no wheels at PyPI).
// How to run: in an empty folder `npm install node-llama-cpp@3.22.1`, copy this file there,
// node check_families_llama.mjs FOLDER-OF-THE-GOLDENS
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const folder = process.argv[2];
const temporary = mkdtempSync(join(tmpdir(), "families-"));
const llama = await getLlama({ build: "never", gpu: false, logLevel: LlamaLogLevel.error });
for (const file of readdirSync(folder).filter((name) => name.endsWith(".gguf.gz"))) {
  const family = file.replace(".gguf.gz", "");
  const golden = JSON.parse(readFileSync(join(folder, family + ".json"), "utf8"));
  const modelPath = join(temporary, family + ".gguf");
  writeFileSync(modelPath, gunzipSync(readFileSync(join(folder, file))));
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: 512,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const wanted = { generateNext: { probabilities: true, options: { temperature: 0 } } };
  const input = golden.tokens.map((token, row) => (golden.rows.includes(row) ? [token, wanted] : token));
  const done = await context.getSequence().controlledEvaluate(input);
  const apart = golden.rows.map((row, at) => {
    const logits = golden.logits[at];
    const largest = Math.max(...logits);
    const lse = largest + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - largest), 0));
    let most = 0;
    for (const [token, p] of done[row].next.probabilities)
      most = Math.max(most, Math.abs(Math.log(p) - (logits[token] - lse)));
    return (most / Math.max(...logits.map(Math.abs))).toExponential(1);
  });
  console.log(family, ...apart);
  await context.dispose();
  await model.dispose();
}
rmSync(temporary, { recursive: true });
process.exit(0);
