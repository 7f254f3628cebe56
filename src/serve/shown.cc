// See shown.h.
#include "serve/shown.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>

#include "bareattn/diff.h"
#include "bareattn/error.h"
#include "bareattn/head_roles.h"
#include "bareattn/highlights.h"
#include "base/thread_pool.h"
#include "observe/strongest.h"
#include "serve/gate.h"
#include "view/page_description.h"
#include "view/page_lesson.h"

namespace bareattn::serving {
namespace {

using nlohmann::json;

constexpr int64_t most_compared = 2048;  // tokens up to which how much each head changed is known: 2 s on two cores
constexpr int64_t most_blocks = 512;     // a side of the map that the page reads whole

std::shared_ptr<const std::string> shared(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

std::string dumped(const json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

void check_kept(const Trace& trace) {
  // Each names in its error what was left out.
  static_cast<void>(trace.rows(Measure::entropy, {0, 0}));
  static_cast<void>(trace.received({0, 0}));
  static_cast<void>(trace.pool_block());
}

Answer no_sizes() {
  return error_answer(
      404,
      "this trace does not hold the size of what keys carry; bareattn trace --measures all keeps it, as "
      "does a list with 'values'");
}

}  // namespace

Shown::Shown(std::shared_ptr<const Trace> trace, const ShownOptions& options, const Progress& progress)
    : trace_(std::move(trace)), id_(random_token().substr(0, 16)), cache_(options.cache_bytes) {
  check_kept(*trace_);
  if (options.before) view::check_comparable(*options.before, *trace_);
  levels_ = levels_of(*trace_);
  int merge = 1;
  while (view::pool_layout(*trace_, merge).blocks > most_blocks) merge *= 2;
  layout_ = view::pool_layout(*trace_, merge);

  const ModelConfig& config = trace_->model().config();
  const int64_t heads = int64_t{config.layers} * config.heads;
  const auto tokens = static_cast<int64_t>(trace_->tokens().size());
  std::vector<view::Bytes> thumbs(static_cast<size_t>(heads));
  std::atomic<int64_t> done = 0;
  base::ThreadPool pool;
  const int64_t batch = 2 * pool.size();
  for (int64_t from = 0; from < heads; from += batch) {
    if (progress && !progress(done, heads)) throw Cancelled{};
    pool.run(std::min(batch, heads - from), [&](int64_t i, int) {
      const HeadId head{static_cast<int>((from + i) / config.heads), static_cast<int>((from + i) % config.heads)};
      static_cast<void>(trace_->mean(Measure::entropy, head));  // the trace keeps what it has made
      thumbs[static_cast<size_t>(from + i)] =
          view::thumb_bytes(view::pooled_map(*trace_, head, layout_), layout_, tokens);
      ++done;
    });
  }
  std::string all;
  for (const view::Bytes& thumb : thumbs) all.append(thumb.begin(), thumb.end());
  thumbs_ = shared(std::move(all));

  view::PageContent content;
  content.layout = layout_;
  content.has_sizes = trace_->measured().values;
  const int64_t thumb = view::thumb_merge(layout_);
  content.thumb_size = (layout_.blocks + thumb - 1) / thumb;
  content.telling = view::telling_order(*trace_, telling_heads(*trace_));
  for (int64_t i = 0; i < heads; ++i) {
    content.exact.push_back({static_cast<int>(i / config.heads), static_cast<int>(i % config.heads)});
  }
  const auto roles = cached_roles(trace_->model());
  json page = view::page_description(*trace_, options.title.empty() ? trace_->title() : options.title,
                                     roles ? &*roles : nullptr);
  view::add_content(page, config, content);
  page["agreement"] = {{"outputs", trace_->measured().agreement}};
  page["source"] = {{"base", "/api"}, {"tiles", json::array()}};  // cells a side of the exact tiles of each z
  for (const Level& level : levels_)
    if (level.exact) page["source"]["tiles"].push_back(level.cells);
  const Reach& reach = trace_->run().reach;
  if (options.value_weighted) page["value_weighted"] = true;
  page["served"] = {{"run", id_},
                    {"live", options.live},
                    {"against", options.against},
                    {"steered", trace_->table() != nullptr},
                    {"store", store_name(trace_->store())}};
  page["served"]["window"] = reach.window >= 0 ? json(reach.window) : json(nullptr);
  page["served"]["sinks"] = reach.sinks;
  if (options.before && tokens <= most_compared)
    view::add_changes(page, diff(*options.before, *trace_, {},
                                 [&](int64_t, int64_t) { return !progress || progress(heads, heads); }));
  if (options.lesson) page["lesson"] = view::page_lesson(*options.lesson);
  page_ = shared(dumped(page));
}

Answer Shown::text() const {
  Answer answer;
  answer.body = page_;
  return answer;
}

Answer Shown::section(const std::string& kind, HeadId head) const {
  if (kind == "thumbs") return bytes_answer(thumbs_);
  const std::string key = kind + "/" + head_name(head);
  if (Cache::Value kept = cache_.find(key)) return bytes_answer(kept);
  const view::Bytes bytes = kind == "pool"   ? view::pool_bytes(view::pooled_map(*trace_, head, layout_))
                            : kind == "keys" ? view::key_bytes(*trace_, head)
                                             : view::row_bytes(*trace_, head);
  Cache::Value value = shared(std::string(bytes.begin(), bytes.end()));
  cache_.put(key, value);
  return bytes_answer(value);
}

Answer Shown::agreement(int layer, const Gone& gone) const {
  const std::string key = "agreement/" + std::to_string(layer);
  if (Cache::Value kept = cache_.find(key)) return bytes_answer(kept);
  const Agreement found = head_agreement(*trace_, {.layer = layer}, [&](int64_t, int64_t) { return !gone; });
  const view::Bytes bytes =
      view::agreement_bytes(found, layer, trace_->model().config().heads, trace_->measured().agreement);
  Cache::Value value = shared(std::string(bytes.begin(), bytes.end()));
  cache_.put(key, value);
  return bytes_answer(value);
}

Answer Shown::tileset(HeadId head) const {
  json levels = json::array();
  for (const Level& level : levels_)
    levels.push_back(
        {{"z", level.z}, {"cell", level.cell}, {"exact", level.exact}, {"tile", level.cells}, {"tiles", level.tiles}});
  return json_answer(200, dumped({{"run", id_},
                                  {"layer", head.layer},
                                  {"head", head.head},
                                  {"tokens", trace_->tokens().size()},
                                  {"levels", levels}}));
}

Answer Shown::tile(const Tile& tile, const Gone& gone) const {
  const auto found =
      std::find_if(levels_.begin(), levels_.end(), [&](const Level& level) { return level.z == tile.z; });
  if (found == levels_.end()) return error_answer(404, "there is no such z; /api/tileset lists those there are");
  const Level& level = *found;
  if (tile.at.x >= level.tiles || tile.at.y >= level.tiles)
    return error_answer(404,
                        "x and y are 0 to " + std::to_string(level.tiles - 1) + " at z = " + std::to_string(tile.z));
  if (tile.at.parts == Parts::carried && !trace_->measured().values) return no_sizes();
  const std::string key = "tile/" + head_name(tile.at.head) + "/" + std::to_string(tile.z) + "/" +
                          std::to_string(tile.at.x) + "/" + std::to_string(tile.at.y) + (tile.at.first ? "/1" : "/0") +
                          std::to_string(static_cast<int>(tile.at.parts)) +
                          std::to_string(static_cast<int>(tile.pool)) + std::to_string(static_cast<int>(tile.type));
  Cache::Value value = cache_.find(key);
  std::string took;
  if (!value) {
    const auto start = std::chrono::steady_clock::now();
    Planes planes;
    if (level.exact) {
      planes = exact_planes(*trace_, tile.at, level, gone);
    } else {
      const view::PoolLayout layout = view::pool_layout(*trace_, static_cast<int>(level.cell / trace_->pool_block()));
      planes = pooled_planes(*trace_, layout, tile.at);
    }
    value = shared(encode(planes, tile.pool, tile.type));
    cache_.put(key, value);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    took = fmt::format("tile;dur={:.3f}", time.count());
  }
  Answer answer = bytes_answer(value);
  if (!took.empty()) answer.headers.emplace_back("Server-Timing", took);
  return answer;
}

Answer Shown::row(HeadId head, int64_t row, int top, bool value_weighted) const {
  if (value_weighted && !trace_->measured().values) return no_sizes();
  const std::vector<float> weights = trace_->row_weights(head, row);
  std::vector<float> ranked = weights;
  if (value_weighted) {
    const std::vector<float> sizes = trace_->carried(head);
    for (size_t j = 0; j < ranked.size(); ++j) ranked[j] *= sizes[j];
  }
  std::vector<bool> listed(weights.size());
  json keys = json::array();
  for (const auto& [key, value] : observing::strongest(ranked, top)) {
    const auto at = static_cast<size_t>(key);
    keys.push_back({{"key", key}, {"weight", static_cast<double>(weights[at])}, {"text", trace_->token_texts()[at]}});
    if (value_weighted) keys.back()["value_weighted"] = static_cast<double>(value);
    listed[at] = true;
  }
  double total = 0, rest = 0;
  for (size_t j = 0; j < ranked.size(); ++j) {
    total += static_cast<double>(ranked[j]);
    if (!listed[j]) rest += static_cast<double>(ranked[j]);
  }
  return json_answer(
      200, dumped({{"run", id_},
                   {"layer", head.layer},
                   {"head", head.head},
                   {"row", row},
                   {"text", trace_->token_texts()[static_cast<size_t>(row)]},
                   {"top", keys},
                   {"others",
                    {{"keys", weights.size() - keys.size()}, {value_weighted ? "value_weighted" : "weight", rest}}},
                   {"total", total}}));
}

Answer Shown::row_weights(HeadId head, int64_t row, bool value_weighted) const {
  if (value_weighted && !trace_->measured().values) return no_sizes();
  std::vector<float> weights = trace_->row_weights(head, row);
  if (value_weighted) {
    const std::vector<float> factors = parts_of_largest(trace_->carried(head));
    for (size_t j = 0; j < weights.size(); ++j) weights[j] *= factors[j];
  }
  return bytes_answer(shared(encode(weights, Type::f32)));
}

}  // namespace bareattn::serving
