// find_roles as a whole: the same bits for any number of threads, what zeroing the induction heads does, a stop; and
// where its result is kept: written whole, read with suspicion, whatever is in its place.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/head_roles.h"
#include "base/sha256.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

namespace fs = std::filesystem;

constexpr RoleOptions few{.samples = 4, .seed = 7, .ablation_draws = 2, .corpus = {}};

/// Found once: it takes seconds.
const HeadRoles& found() {
  static const HeadRoles roles = find_roles(test::real_model(), few, 2);
  return roles;
}

std::string json_but_time(HeadRoles roles) {
  roles.seconds = 0, roles.threads = 1;
  return roles_to_json(roles);
}

TEST(FindRoles, SameBitsForAnyThreads) {
  EXPECT_EQ(json_but_time(find_roles(test::real_model(), few, 1)), json_but_time(found()));
}

TEST(FindRoles, InductionHeadsAreFoundAndAreWorthMoreThanOthers) {
  const HeadRoles& roles = found();
  const auto scores = [&](HeadId id, Recipe recipe) { return roles.of(id).scores[static_cast<size_t>(recipe)]; };
  EXPECT_EQ(roles.of({18, 6}).name, "induction");
  EXPECT_EQ(roles.of({16, 0}).name, "previous-token");
  for (size_t head = 0; head < roles.of_head.size(); ++head)
    for (const RoleScore& s : roles.of_head[head].scores) {
      EXPECT_TRUE(0 <= s.low && s.low <= s.mean && s.mean <= s.high && s.high <= 1 + 1e-6) << "head " << head;
    }
  EXPECT_GT(roles.stability[static_cast<size_t>(Recipe::induction)], 0.9);
  EXPECT_GT(roles.same_name, 0.7);
  EXPECT_GE(roles.needles_answered, 2);
  ASSERT_TRUE(roles.ablation.has_value());
  const AblationCheck& check = *roles.ablation;
  ASSERT_FALSE(check.heads.empty());
  for (size_t i = 1; i < check.heads.size(); ++i) {
    EXPECT_GE(scores(check.heads[i - 1], Recipe::induction).mean, scores(check.heads[i], Recipe::induction).mean);
  }
  ASSERT_EQ(check.repeat_random.size(), 2U);
  const double random = (check.repeat_random[0] + check.repeat_random[1]) / 2 - check.repeat;
  EXPECT_LT(check.repeat, check.first / 2);                              // the model does use the first copy
  EXPECT_GT(check.repeat_ablated - check.repeat, 4 * std::abs(random));  // and these heads are how
  EXPECT_LT(std::abs(check.first_ablated - check.first), check.repeat_ablated - check.repeat);
}

TEST(FindRoles, Refuses) {
  RoleOptions options = few;
  options.samples = 3;
  EXPECT_THROW(find_roles(test::real_model(), options), std::invalid_argument);
  options = few;
  options.corpus = "Too short. Far too short.";
  EXPECT_THROW(find_roles(test::real_model(), options), InputError);
  EXPECT_THROW(find_roles(test::real_model(), few, 0, [](int64_t, int64_t) { return false; }), Cancelled);
}

TEST(RolesJson, RoundTripAndWhatDoesNotFit) {
  const std::string json = roles_to_json(found());
  EXPECT_EQ(roles_to_json(roles_from_json(json)), json);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = json;
    const size_t at = other.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return other.replace(at, from.size(), to);
  };
  for (const auto& [bad, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "no JSON"},
           {json.substr(0, json.size() / 2), "no JSON"},
           {"[]", "format"},
           {changed("\"version\": 1", "\"version\": 2"), "version 2"},
           {changed("\"layers\": 30", "\"layers\": 29"), "270 heads"},
           {changed("\"layers\": 30", "\"layers\": -30"), "layers"},
           {changed("\"seed\": 7", "\"seed\": -7"), "seed"},
           {changed("\"samples\": 4", "\"samples\": \"4\""), "samples"},
           {changed("\"threshold\": 0.4", "\"threshold\": 0.5"), "threshold"},
           {changed("\"id\": \"retrieval\"", "\"id\": \"revival\""), "revival"},
           {changed("\"loss_first\"", "\"loss_fist\""), "loss_first"},
           {changed("\"scores\"", "\"stores\""), "scores"}}) {
    try {
      roles_from_json(bad);
      ADD_FAILURE() << "taken: " << bad.substr(0, 200);
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  }
}

class RolesCache : public testing::Test {
 protected:
  void SetUp() override {
    place_ = fs::temp_directory_path() / ("roles_cache_test." + std::to_string(::getpid()));
    fs::remove_all(place_);
    fs::create_directories(place_);
    ::setenv("XDG_CACHE_HOME", place_.c_str(), 1);
  }
  void TearDown() override { fs::remove_all(place_); }

  std::string path() const { return roles_cache_path(found().model_sha256); }
  void expect_unused(const std::string& why) {
    std::string problem;
    EXPECT_FALSE(cached_roles(*test::real_model(), &problem).has_value());
    EXPECT_NE(problem.find(why), std::string::npos) << "problem: '" << problem << "'";
    EXPECT_FALSE(cached_roles(*test::real_model()).has_value());
  }
  void put(const std::string& json) { write_file(path(), "bareattn-roles 1 " + base::sha256(json) + "\n" + json); }

  fs::path place_;
};

TEST_F(RolesCache, KeepsWhatWasFound) {
  std::string problem;
  EXPECT_FALSE(cached_roles(*test::real_model(), &problem).has_value());
  EXPECT_EQ(problem, "");
  cache_roles(found());
  EXPECT_EQ(path(), (place_ / "bareattn/roles" / test::real_model()->sha256()).string());
  const auto back = cached_roles(*test::real_model(), &problem);
  EXPECT_EQ(problem, "");
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(roles_to_json(*back), roles_to_json(found()));
  cache_roles(found());                                                                // over itself
  EXPECT_EQ(std::distance(fs::directory_iterator(place_ / "bareattn/roles"), {}), 1);  // and no temporary file stays
}

TEST_F(RolesCache, DamagedFilesAreNotUsed) {
  cache_roles(found());
  const std::string whole = read_file(path(), 1 << 26);
  for (const size_t at : {size_t{0}, size_t{15}, size_t{20}, size_t{81}, whole.size() / 2, whole.size() - 1}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write_file(path(), damaged);
    expect_unused("not used");
  }
  for (const size_t size : {size_t{0}, size_t{10}, size_t{81}, size_t{82}, whole.size() - 1}) {
    write_file(path(), whole.substr(0, size));
    expect_unused("not used");
  }
  put("{\"format\": \"bareattn-roles\", \"version\": 3}");
  expect_unused("version 3");
  put(std::string(1 << 20, '['));
  expect_unused("nested too deep");
  fs::remove(path());
  fs::create_directories(path());
  expect_unused("directory");
}

TEST_F(RolesCache, AnotherModelsRolesAreNotUsed) {
  cache_roles(found());
  HeadRoles other = found();
  other.model_sha256 = std::string(64, '0');
  put(roles_to_json(other));
  expect_unused("another model");
  other = found();
  other.layers = 9, other.heads = 30, other.ablation.reset();
  put(roles_to_json(other));
  expect_unused("other layers and heads");
}

TEST_F(RolesCache, APlaceThatCannotBeWrittenIsSaidAndNothingIsLeft) {
  std::ofstream(place_ / "file") << "no directory";
  ::setenv("XDG_CACHE_HOME", (place_ / "file").c_str(), 1);
  EXPECT_THROW(cache_roles(found()), OutputError);
  EXPECT_FALSE(cached_roles(*test::real_model()).has_value());
  if (::geteuid() != 0) {  // root may write everywhere
    fs::create_directories(place_ / "shut");
    fs::permissions(place_ / "shut", fs::perms::owner_read | fs::perms::owner_exec);
    ::setenv("XDG_CACHE_HOME", (place_ / "shut").c_str(), 1);
    EXPECT_THROW(cache_roles(found()), OutputError);
    EXPECT_TRUE(fs::is_empty(place_ / "shut"));
  }
  ::setenv("XDG_CACHE_HOME", "relative/place", 1);  // counts as none
  ::setenv("HOME", place_.c_str(), 1);
  EXPECT_EQ(roles_cache_path("x"), (place_ / ".cache/bareattn/roles/x").string());
  ::unsetenv("HOME");
  EXPECT_EQ(roles_cache_path("x"), "");
  EXPECT_THROW(cache_roles(found()), OutputError);
  EXPECT_FALSE(cached_roles(*test::real_model()).has_value());
}

}  // namespace
}  // namespace bareattn
