// The page writer: numbers survive their codes within the stated error, hostile texts stay data, the same observation
// gives the same bytes, the size budget holds. What a browser makes of it: tests/browser.
#include "bareattn/page.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "page_synthetic-inl.h"
#include "view/encode.h"
#include "view/page_assets.h"
#include "view/page_sections.h"
#include "view/page_select.h"

namespace bareattn {
namespace {

using testing::SyntheticObservation;
using testing::SyntheticOptions;

SyntheticOptions small(bool hostile = false) {
  SyntheticOptions options;
  options.layers = 3, options.heads = 6, options.kv_heads = 2, options.tokens = 203, options.hostile = hostile;
  return options;
}

class Page : public ::testing::Test {
 protected:
  void SetUp() override {
    if (view::page_assets().script.empty()) GTEST_SKIP() << "NOT TESTED: configured with -DBAREATTN_PAGE=OFF";
  }
};

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

std::string between(const std::string& text, const std::string& start, const std::string& end) {
  const size_t from = text.find(start);
  EXPECT_NE(from, std::string::npos) << start;
  if (from == std::string::npos) return {};
  return text.substr(from + start.size(), text.find(end, from + start.size()) - from - start.size());
}

nlohmann::json data_of(const std::string& page) {
  return nlohmann::json::parse(between(page, "<script type=\"application/json\" id=\"page-data\">", "</script>"));
}

view::Bytes unpack(const std::string& base64) {
  static const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  view::Bytes packed;
  uint32_t word = 0;
  int bits = 0;
  for (const char c : base64) {
    if (c == '=') break;
    const size_t place = alphabet.find(c);
    EXPECT_NE(place, std::string::npos);
    word = word << 6 | static_cast<uint32_t>(place);
    if ((bits += 6) >= 8) packed.push_back(static_cast<uint8_t>(word >> (bits -= 8)));
  }
  view::Bytes out(64 << 20);
  uLongf size = out.size();
  EXPECT_EQ(uncompress(out.data(), &size, packed.data(), packed.size()), Z_OK);
  out.resize(size);
  return out;
}

view::Bytes section(const std::string& page, const std::string& name) {
  return unpack(between(page, "data-section=\"" + name + "\">", "</script>"));
}

TEST(LogCode, KeepsItsErrorBound) {
  double worst = 0;
  for (double exponent = -20; exponent <= 0; exponent += 0.00037) {
    const double value = std::exp2(exponent);
    worst = std::max(worst, std::fabs(view::log_decode(view::log_code(value)) / value - 1));
  }
  EXPECT_LE(worst, view::log_code_relative_error);
  EXPECT_GT(worst, 0.9 * view::log_code_relative_error) << "the stated bound is too wide to mean anything";
}

TEST(LogCode, NeverCallsSomethingNothingOrANumberWhatIsNone) {
  EXPECT_EQ(view::log_code(0), 0);
  EXPECT_EQ(view::log_code(1e-30), 1);
  EXPECT_EQ(view::log_code(std::numeric_limits<double>::denorm_min()), 1);
  EXPECT_EQ(view::log_code(1), 254);
  EXPECT_EQ(view::log_code(1 + 1e-6), 254);
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, -1e-9, 1.5}) EXPECT_EQ(view::log_code(bad), 255) << bad;
  EXPECT_TRUE(std::isnan(view::log_decode(255)));
  EXPECT_EQ(view::linear_code(std::nan(""), 3), 0);
  for (double v = 0; v <= 3; v += 0.01) EXPECT_NEAR((view::linear_code(v, 3) - 1) / 254.0 * 3, v, 3 / 508.0 + 1e-12);
}

TEST(Encode, JsonAndHtmlCannotEndTheirElement) {
  const std::string json = view::json_for_script(nlohmann::json("</script><!--&").dump());
  EXPECT_EQ(json.find_first_of("<>&"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(json), "</script><!--&");
  EXPECT_EQ(view::html_text("<a b=\"c\" d='e'>&\x01"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\xEF\xBF\xBD");
  // RFC 4648 and FIPS 180-4 examples.
  const std::string foobar = "foobar";
  for (const auto& [n, text] : {std::pair<size_t, const char*>{0, ""}, {1, "Zg=="}, {2, "Zm8="}, {6, "Zm9vYmFy"}}) {
    EXPECT_EQ(view::base64({reinterpret_cast<const uint8_t*>(foobar.data()), n}), text);
  }
  EXPECT_EQ(view::sha256_base64("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}

TEST(Pool, MergedBlocksSumAndKeepTheLargest) {
  const SyntheticObservation observation(small());
  const HeadId head{1, 2};
  for (const int merge : {1, 2, 4}) {
    const view::PoolLayout layout = view::pool_layout(observation, merge);
    const view::PooledMap map = view::pooled_map(observation, head, layout);
    const int64_t n = small().tokens;
    for (int64_t r = 0; r < layout.blocks; ++r) {
      std::vector<double> share(static_cast<size_t>(r + 1)), max(static_cast<size_t>(r + 1));
      double rest = 0;
      const int64_t end = std::min(n, (r + 1) * layout.block);
      for (int64_t i = r * layout.block; i < end; ++i) {
        const std::vector<float> weights = observation.row_weights(head, i);
        for (size_t j = 0; j < weights.size(); ++j) {
          const size_t c = j / static_cast<size_t>(layout.block);
          const double w = static_cast<double>(weights[j]);
          share[c] += w / static_cast<double>(end - r * layout.block);
          max[c] = std::max(max[c], w);
          if (c == 0 && j > 0) rest += w / static_cast<double>(end - r * layout.block);
        }
      }
      for (int64_t c = 0; c <= r; ++c) {
        const size_t cell = static_cast<size_t>(r * (r + 1) / 2 + c);
        EXPECT_NEAR(map.share[cell], share[static_cast<size_t>(c)], 1e-5);
        EXPECT_NEAR(static_cast<double>(map.max[cell]), max[static_cast<size_t>(c)], 1e-5);
      }
      EXPECT_NEAR(map.share_without_first[static_cast<size_t>(r)], rest, 1e-5);
    }
  }
}

TEST(Pool, ThumbnailsKeepAllTheWeight) {
  SyntheticOptions options = small();
  options.tokens = 1500;  // 94 blocks: three to a cell of the thumbnail, the last one short
  options.layers = 1;
  const SyntheticObservation observation(options);
  const view::PoolLayout layout = view::pool_layout(observation, 1);
  const view::PooledMap map = view::pooled_map(observation, {0, 3}, layout);
  const view::Bytes thumb = view::thumb_bytes(map, layout, options.tokens);
  const int64_t merge = view::thumb_merge(layout), size = (layout.blocks + merge - 1) / merge;
  ASSERT_EQ(merge, 3);
  ASSERT_EQ(thumb.size(), static_cast<size_t>(size * (size + 1) / 2 + size));
  for (int64_t r = 0; r < size; ++r) {
    double sum = 0;
    for (int64_t c = 0; c <= r; ++c) sum += view::log_decode(thumb[static_cast<size_t>(r * (r + 1) / 2 + c)]);
    EXPECT_NEAR(sum, 1, view::log_code_relative_error + 1e-3) << "row " << r;
  }
}

TEST_F(Page, SectionsHoldWhatWasObserved) {
  const SyntheticObservation observation(small());
  const std::string page = render_page(observation);
  const nlohmann::json data = data_of(page);
  const int64_t n = small().tokens;
  const std::vector<double> sum = observation.pool_sum({2, 5});
  const view::Bytes pool = section(page, "pool/2.5");
  const int64_t blocks = data["pool"]["blocks"];
  ASSERT_EQ(pool.size(), 2 * sum.size() + static_cast<size_t>(blocks));
  for (int64_t r = 0; r < blocks; ++r) {
    const double rows = static_cast<double>(std::min<int64_t>(16, n - r * 16));
    for (int64_t c = 0; c <= r; ++c) {
      const size_t cell = static_cast<size_t>(r * (r + 1) / 2 + c);
      const double share = sum[cell] / rows, error = std::fabs(view::log_decode(pool[cell]) - share);
      EXPECT_LE(error, std::max(share * (view::log_code_relative_error + 1e-4), 0x1p-20));
    }
  }
  const view::Bytes rows = section(page, "rows/2.5");
  const std::vector<int32_t> max_key = observation.max_key({2, 5});
  ASSERT_EQ(rows.size(), static_cast<size_t>(5 * n));
  for (size_t i = 0; i < max_key.size(); ++i) {
    EXPECT_EQ(rows[3 * max_key.size() + i] | rows[4 * max_key.size() + i] << 8, max_key[i]);
  }
  const std::vector<uint16_t> q = observation.q_f16({2, 5});
  const view::Bytes packed = section(page, "q/2.5");
  ASSERT_EQ(packed.size(), 2 * q.size() + static_cast<size_t>(4 * n));
  for (size_t i = 0; i < q.size(); ++i) ASSERT_EQ(packed[i] | packed[q.size() + i] << 8, q[i]);
  EXPECT_EQ(data["exact"].size(), 18U) << "a short text fits whole";
  EXPECT_EQ(count(page, "data-section=\"k/"), 6U) << "K stands once for its group";
}

TEST_F(Page, HostileTextsStayData) {
  const SyntheticObservation observation(small(true));
  PageOptions options;
  options.title = "</title><script>alert(1)</script>\x01<!--";
  const std::string page = render_page(observation, options);
  const nlohmann::json data = data_of(page);
  EXPECT_EQ(data["tokens"], nlohmann::json(observation.token_texts()));
  EXPECT_EQ(data["title"], options.title);
  EXPECT_EQ(count(page, "<!--"), 0U);
  // Elements open and close as the writer meant: JSON, thumbnails, script, and the sections.
  EXPECT_EQ(count(page, "</script"), count(page, "<script"));
  EXPECT_EQ(count(page, "<script"), 2 + count(page, "<script type=\"text/plain\" data-section="));
  EXPECT_EQ(count(page, "<title"), 1U);
  EXPECT_EQ(count(page, "</style"), 1U);
  EXPECT_EQ(count(page, "alert(1)</script>"), 0U);
  for (const char c : page)
    ASSERT_TRUE(c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20) << static_cast<int>(c);
}

TEST_F(Page, ThePolicyNamesTheHashesOfWhatIsThere) {
  const std::string page = render_page(SyntheticObservation(small()));
  const std::string policy = between(page, "Content-Security-Policy\" content=\"", "\"");
  EXPECT_EQ(between(policy, "script-src 'sha256-", "'"), view::sha256_base64(between(page, "\n<script>", "</script>")));
  EXPECT_EQ(between(policy, "style-src 'sha256-", "'"), view::sha256_base64(between(page, "<style>", "</style>")));
  EXPECT_EQ(policy.find("default-src 'none'"), 0U);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
}

TEST_F(Page, SameObservationSameBytes) {
  EXPECT_EQ(render_page(SyntheticObservation(small())), render_page(SyntheticObservation(small())));
}

TEST_F(Page, TheBudgetHoldsAndMoreOfItShowsMore) {
  SyntheticOptions options = small();
  options.tokens = 600;
  const SyntheticObservation observation(options);
  size_t before = 0, most = 0;
  for (const int64_t budget : {320'000, 350'000, 450'000, 700'000, 1'500'000, 25'000'000}) {
    PageOptions page_options;
    page_options.size_budget = budget;
    const std::string page = render_page(observation, page_options);
    EXPECT_LE(static_cast<int64_t>(page.size()), budget);
    const size_t exact = data_of(page)["exact"].size();
    EXPECT_GE(exact, before);
    before = exact, most = std::max(most, exact);
  }
  EXPECT_EQ(most, 18U);
  PageOptions tight;
  tight.size_budget = 1000;
  try {
    render_page(observation, tight);
    FAIL() << "1,000 bytes were enough";
  } catch (const InputError& e) {
    EXPECT_NE(std::string(e.what()).find("the size budget is 1000"), std::string::npos) << e.what();
  }
}

TEST_F(Page, HeadsAskedForAreExactWhateverTheBudget) {
  SyntheticOptions options = small();
  options.tokens = 600;
  PageOptions page_options;
  page_options.size_budget = 330'000;
  page_options.exact = {{2, 5}, {0, 1}, {2, 5}, {1, 0}};
  const nlohmann::json data = data_of(render_page(SyntheticObservation(options), page_options));
  EXPECT_EQ(data["exact"], (nlohmann::json{17, 1, 6}));
  page_options.exact = {{3, 0}};
  EXPECT_THROW(render_page(SyntheticObservation(options), page_options), std::invalid_argument);
}

TEST_F(Page, PooledOnlyHasNoExactHeadAndEveryMap) {
  SyntheticOptions options = small();
  options.tokens = 600;
  const SyntheticObservation observation(options);
  PageOptions page_options;
  const std::string full = render_page(observation, page_options);
  page_options.pooled_only = true;
  const std::string page = render_page(observation, page_options);
  EXPECT_EQ(data_of(page)["exact"].size(), 0U);
  EXPECT_EQ(data_of(full)["exact"].size(), 18U);
  EXPECT_EQ(section(page, "pool/2.5"), section(full, "pool/2.5"));
  EXPECT_LT(page.size(), full.size());
  page_options.exact = {{0, 1}};
  EXPECT_THROW(render_page(observation, page_options), std::invalid_argument);
}

TEST_F(Page, TellingHeadsComeFirst) {
  PageOptions options;
  options.telling = {{2, 4}, {0, 3}};
  const nlohmann::json data = data_of(render_page(SyntheticObservation(small()), options));
  ASSERT_EQ(data["telling"].size(), 18U);
  EXPECT_EQ(data["telling"][0], 16);
  EXPECT_EQ(data["telling"][1], 3);
  EXPECT_EQ(data["exact"], data["telling"]);
}

TEST_F(Page, RecipesAndLikenessesAreThereWhereTheyAreGiven) {
  const SyntheticObservation observation(small());
  nlohmann::json data = data_of(render_page(observation));
  EXPECT_FALSE(data.contains("recipes") || data.contains("agreement"));
  PageOptions options;
  HeadRoles roles;
  roles.layers = 3, roles.heads = 6, roles.of_head.resize(18);
  roles.of_head[13].scores[0].mean = 0.61238;
  roles.of_head[13].scores[3].mean = NAN;
  options.recipe_roles = std::make_shared<HeadRoles>(roles);
  Agreement agreement;
  agreement.rows = 202;
  for (int layer = 0; layer < 3; ++layer)
    for (int a = 0; a < 6; ++a)
      for (int b = a + 1; b < 6; ++b) agreement.pairs.push_back({layer, a, b, 0.1 * layer + 0.01 * a + 0.001 * b});
  options.agreement = std::make_shared<Agreement>(agreement);
  const std::string page = render_page(observation, options);
  data = data_of(page);
  ASSERT_EQ(data["recipes"].size(), static_cast<size_t>(recipe_count));
  EXPECT_EQ(data["recipes"][0]["id"], "induction");
  EXPECT_EQ(data["recipe_roles"][13]["scores"][0], 0.6124);
  EXPECT_TRUE(data["recipe_roles"][13]["scores"][3].is_null());
  EXPECT_EQ(data["agreement"]["outputs"], false);
  const view::Bytes bytes = section(page, "agreement/2");
  ASSERT_EQ(bytes.size(), 4U * (1 + 36));
  std::array<float, 37> values{};
  std::memcpy(values.data(), bytes.data(), bytes.size());
  EXPECT_EQ(values[0], 202);
  EXPECT_FLOAT_EQ(values[1 + 6 * 1 + 4], 0.214F);
  EXPECT_EQ(values[1 + 6 * 4 + 1], values[1 + 6 * 1 + 4]);
  EXPECT_EQ(values[1 + 6 * 4 + 4], 0);
  agreement.pairs.pop_back();
  options.agreement = std::make_shared<Agreement>(agreement);
  EXPECT_THROW(render_page(observation, options), std::invalid_argument);
}

TEST_F(Page, WithoutQAndKAllIsPooled) {
  SyntheticOptions options = small();
  options.keep_qk = false;
  const SyntheticObservation observation(options);
  EXPECT_EQ(data_of(render_page(observation))["exact"].size(), 0U);
  PageOptions page_options;
  page_options.exact = {{0, 0}};
  EXPECT_THROW(render_page(observation, page_options), std::invalid_argument);
}

TEST_F(Page, OneTokenAndNaN) {
  SyntheticOptions options = small();
  options.tokens = 1;
  EXPECT_EQ(data_of(render_page(SyntheticObservation(options)))["tokens"].size(), 1U);
  SyntheticObservation damaged(small());
  damaged.damage({1, 1});
  const std::string page = render_page(damaged);
  EXPECT_TRUE(data_of(page)["means"][7][0].is_null());
  EXPECT_EQ(section(page, "pool/1.1")[1], view::log_code_nan);
}

TEST(PageOff, SaysHowToGetThePage) {
  if (!view::page_assets().script.empty()) GTEST_SKIP() << "this build has the page";
  try {
    render_page(SyntheticObservation(small()));
    FAIL() << "a page without a page";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("-DBAREATTN_PAGE=ON"), std::string::npos);
  }
}

}  // namespace
}  // namespace bareattn
