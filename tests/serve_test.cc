// The parts of the served page that need no socket: names on port 80, and live mode's two ends, a page that leaves
// while its run is about to be shown, and steering while another text takes the place of the one that was shown.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <random>
#include <thread>

#include "bareattn/error.h"
#include "bareattn/threads.h"
#include "failing_threads.h"
#include "gguf_builder.h"
#include "serve/gate.h"
#include "serve/live.h"
#include "serve/work.h"

namespace bareattn::serving {
namespace {

Request request(std::string host, std::string origin = "") {
  Request request;
  request.method = "GET";
  request.target = "/";
  request.headers.emplace_back("host", std::move(host));
  if (!origin.empty()) request.headers.emplace_back("origin", std::move(origin));
  return request;
}

TEST(Gate, PortEightyIsLeftOutByBrowsers) {
  const Gate eighty{.port = 80, .token = random_token()}, other{.port = 8080, .token = random_token()};
  for (const std::string name : {"127.0.0.1", "localhost", "[::1]"}) {
    for (const std::string& host : {name, name + ":80"}) {
      EXPECT_FALSE(eighty.refusal(request(host))) << host;
      EXPECT_FALSE(eighty.refusal(request(host, "http://" + host))) << host;
      EXPECT_TRUE(other.refusal(request(host))) << host;
      EXPECT_TRUE(eighty.refusal(request(host, "https://" + host))) << host;
    }
    EXPECT_FALSE(other.refusal(request(name + ":8080")));
    EXPECT_TRUE(eighty.refusal(request(name + ":8080")));
    EXPECT_TRUE(eighty.refusal(request(name + ":")));
    EXPECT_TRUE(eighty.refusal(request(name + ".")));
  }
  EXPECT_TRUE(eighty.refusal(request("evil.com")));
  EXPECT_TRUE(eighty.refusal(request("evil.com:80")));
}

ServeOptions options() {
  static const test::TemporaryFile file(test::tiny_llama().build());
  ServeOptions options;
  options.model = Model::load(file.path(), {.precision = Precision::f32, .threads = 1});
  options.threads = 1;
  return options;
}

Request body(std::string json) {
  Request request;
  request.method = "POST";
  request.target = "/api/run";
  request.headers.emplace_back("content-type", "application/json");
  request.body = std::move(json);
  return request;
}

Request text(const std::string& words) { return body(R"({"page":"p","text":")" + words + "\"}"); }

void wait(const Live& live) {
  while (live.running()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

TEST(Live, ARunThatItsPageLeftIsNotShownAfterwards) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> installed = 0;
  Live live(
      options(), [] { return nullptr; }, [&](std::shared_ptr<const Shown>, Live::Place) { ++installed; });
  const auto begin = Clock::now();
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(live.start(text("A short text.")).status, 202);
    wait(live);
  }
  const double whole = std::chrono::duration<double>(Clock::now() - begin).count() / 5;
  ASSERT_EQ(installed, 5);
  // It leaves at some moment of the second half; where that is the last one, between the run's end and its being shown.
  std::mt19937 random(11);
  std::uniform_real_distribution<double> share(0.5, 1.05);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(live.start(text("A short text.")).status, 202);
    const auto leaves = Clock::now() + std::chrono::duration<double>(share(random) * whole);
    std::this_thread::sleep_until(leaves);
    ASSERT_TRUE(live.left("p"));
    const int before = installed;
    wait(live);
    ASSERT_EQ(installed, before) << "shown after its page had left, run " << i;
  }
}

TEST(Work, OneThreadDoesAllAndNoneIsSaid) {
  {
    const test::ThreadLimit limit(1);
    Work work(4);
    std::promise<void> tile, quick;
    work.add(Lane::tile, [&] { tile.set_value(); });
    work.add(Lane::quick, [&] { quick.set_value(); });
    tile.get_future().wait();
    quick.get_future().wait();
  }
  EXPECT_NE(take_thread_shortage(), "");
  const test::ThreadLimit limit(0);
  EXPECT_THROW(Work work(4), OutputError);
  take_thread_shortage();
}

TEST(Live, WithoutAThreadARunIsRefusedAndTheNextOneMayCome) {
  int installed = 0;
  Live live(
      options(), [] { return nullptr; }, [&](std::shared_ptr<const Shown>, Live::Place) { ++installed; });
  {
    const test::ThreadLimit limit(0);
    const Answer refused = live.start(text("A short text."));
    EXPECT_EQ(refused.status, 503);
    EXPECT_NE(refused.body->find("no thread can be started"), std::string::npos);
  }
  EXPECT_NE(take_thread_shortage(), "");
  ASSERT_EQ(live.start(text("A short text.")).status, 202);
  wait(live);
  EXPECT_EQ(installed, 1);
}

TEST(Live, SteeringIsOfTheTextThatIsShown) {
  std::mutex mutex;
  std::shared_ptr<const Shown> shown, against;
  bool meanwhile = false;
  std::future<void> other;
  Live* asked = nullptr;
  const auto now = [&] {
    const std::lock_guard lock(mutex);
    return shown;
  };
  const auto current = [&] {
    const auto before = now();
    if (!meanwhile) return before;
    // Another text is sent while the steering is being looked at. Where it can run, it is waited for.
    other = std::async(std::launch::async, [&] { static_cast<void>(asked->start(text("Another, longer text."))); });
    for (int i = 0; i < 300 && (now() == before || asked->running()); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return before;
  };
  const auto install = [&](std::shared_ptr<const Shown> next, Live::Place place) {
    const std::lock_guard lock(mutex);
    if (place == Live::Place::instead) {
      shown = std::move(next);
      against = nullptr;
    } else {
      EXPECT_EQ(next->trace().tokens(), shown->trace().tokens()) << "a steered run of a text that is not shown";
      against = std::move(next);
    }
  };
  Live live(options(), current, install);
  asked = &live;
  ASSERT_EQ(live.start(text("One text.")).status, 202);
  wait(live);
  ASSERT_NE(now(), nullptr);
  meanwhile = true;
  const auto steering = body(R"({"steering":{"format":"bareattn-steering","version":1,"interventions":)"
                             R"([{"kind":"temperature","heads":["*"],"value":2}]}})");
  ASSERT_EQ(live.start(steering).status, 202);
  other.wait();
  wait(live);
}

}  // namespace
}  // namespace bareattn::serving
