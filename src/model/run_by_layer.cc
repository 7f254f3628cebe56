// run_by_layer (model.h): the residual stream of the whole text stays in memory, [N, W], and goes through one layer
// after the other, chunk by chunk. The caches of the layers are one, written anew by each.
#include <algorithm>
#include <stdexcept>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "base/float_environment.h"
#include "model/layer.h"
#include "model/loaded_model.h"

namespace bareattn {
namespace {

using model::Pass;
using model::Rows;

void check_tokens(const ModelConfig& config, std::span<const int32_t> tokens) {
  if (tokens.empty()) throw InputError("the text is empty: there is nothing to attend to");
  const auto wrong =
      std::find_if(tokens.begin(), tokens.end(), [&](int32_t t) { return t < 0 || t >= config.vocab_size; });
  if (wrong == tokens.end()) return;
  throw InputError("token " + std::to_string(wrong - tokens.begin()) + " is id " + std::to_string(*wrong) +
                   "; the vocabulary has ids 0 to " + std::to_string(config.vocab_size - 1));
}

void copy_rows(const Rows& from, int64_t first, Rows& to, int64_t at, int64_t rows) {
  std::copy_n(from.row(first), rows * from.stride(), to.row(at));
}

}  // namespace

void run_by_layer(const std::shared_ptr<const Model>& any, std::span<const int32_t> tokens, Observer& observer,
                  const SessionOptions& options, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const auto loaded = std::dynamic_pointer_cast<const model::LoadedModel>(any);
  if (loaded == nullptr) throw std::invalid_argument("run_by_layer: model is null or was not made by Model::load");
  if (options.threads < 0 || options.chunk < 0)
    throw std::invalid_argument("run_by_layer: threads and chunk need 0 or more");
  if (options.table != nullptr || options.variant != nullptr)
    throw std::invalid_argument("run_by_layer: steering and variants need a Session");
  if (options.reach.window < -1 || options.reach.sinks < 0)
    throw std::invalid_argument("run_by_layer: reach.window needs -1 or more, reach.sinks 0 or more");
  const Architecture& config = loaded->architecture();
  check_tokens(config, tokens);
  const auto total = static_cast<int64_t>(tokens.size());
  const double scale = position_scale(config, total, options.reach.beyond);
  const int64_t step = std::min(total, options.chunk == 0 ? SessionOptions().chunk : options.chunk);

  base::ThreadPool pool(options.threads);
  model::RopeTables rope(config, loaded->weights().rope_factors, scale);
  rope.grow(total);
  const model::Watch watch(&observer, config.layers);
  const ScoreRules rules(config, options.reach, nullptr, total);
  const model::AttentionSteps steps;
  Pass pass{config, loaded->weights(), rope, watch, pool, rules, steps};
  model::Workspace work(config, loaded->weights(), step);
  Rows stream(total, config.width);  // [N, W]
  attend::KvCache cache(config.kv_heads, config.head_dim, config.head_dim, model::cache_storage(*loaded));

  const auto each_chunk = [&](const auto& body) {
    for (pass.first_row = 0; pass.first_row < total; pass.first_row += pass.rows) {
      pass.rows = std::min(step, total - pass.first_row);
      body();
    }
  };
  const auto report = [&](int64_t layer, int64_t rows) {
    if (progress && !progress((layer * total + rows) / config.layers, total)) throw Cancelled();
  };
  each_chunk([&] {
    model::embed(pass, tokens.subspan(static_cast<size_t>(pass.first_row), static_cast<size_t>(pass.rows)),
                 pass.first_row, stream, pass.first_row);
    watch.see(Point::embed, -1, pass.first_row,
              {stream.row(pass.first_row), {pass.rows, config.width}, {stream.stride(), 1}});
  });
  for (int layer = 0; layer < config.layers; ++layer) {
    cache.reuse(total);
    each_chunk([&] {
      copy_rows(stream, pass.first_row, work.x, 0, pass.rows);
      model::run_layer(pass, layer, cache, work);
      copy_rows(work.x, 0, stream, pass.first_row, pass.rows);
      report(layer, pass.first_row + pass.rows);
    });
  }
}

}  // namespace bareattn
