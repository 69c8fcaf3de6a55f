// What `lagoon show` tells of how a pool was made.
#include <catch2/catch.hpp>

#include "run.hpp"

using namespace tool_test;
using namespace std::chrono_literals;

namespace {
struct Policies {
    lagoon::Pool<int> plain{"plain", {.capacity = 1}};
    lagoon::Pool<int> full{"full",
                           {.capacity = 1,
                            .on_death = lagoon::OnDeath::destroy,
                            .max_waiters = 7,
                            .quarantine_after = 2,
                            .life = {.max_lifetime = 36h,
                                     .lifetime_jitter = 0.25,
                                     .max_uses = 5,
                                     .idle_timeout = 90s,
                                     .min_size = 1,
                                     .validate_after = 0ns,
                                     .max_failures = 4,
                                     .order = lagoon::LendOrder::fifo,
                                     .lease_limit = 2h,
                                     .measure = true},
                            .creation = {.at_once = 3, .retry_after = 1500us, .retry_at_most = 2s},
                            .wait_order = lagoon::WaitOrder::first_come,
                            .limits = {.create = 48h, .check = 10min, .reset = 1ns}}};
};
}  // namespace

TEST_CASE("tool: show tells what a pool was made with") {
    const std::string name = unique("policies");
    const auto arena = lagoon::Arena<Policies>::create(name);
    const Json shown = parsed(lagoon_tool("show --json " + name));
    const Json plain = member(shown, "plain")["pool"]["policy"];
    CHECK(plain["wait_order"] == "any");
    CHECK(plain["max_lifetime_ns"] == 0);
    CHECK(plain["validates"] == false);
    const Json full = member(shown, "full")["pool"]["policy"];
    CHECK(full["idle_timeout_ns"] == 90'000'000'000);
    CHECK(full["validates"] == true);
    CHECK(full["reset_limit_ns"] == 1);

    const std::string text = lagoon_tool("show " + name).out;
    INFO(text);
    CHECK(text.find("pool plain\n  on_death check_then_reuse, quarantine_after 3, wait_order any, "
                    "lend_order lifo\n  acquired 0,") != std::string::npos);
    CHECK(
        text.find("pool full\n  on_death destroy, quarantine_after 2, wait_order first_come, "
                  "max_waiters 7, max_lifetime 36 h, lifetime_jitter 0.25, max_uses 5, "
                  "idle_timeout 90 s, min_size 1, validate_after 0 ns, max_failures 4, "
                  "lend_order fifo, lease_limit 2 h, creation_at_once 3, retry_after 1500 us, "
                  "retry_at_most 2 s, create_limit 2 d, check_limit 10 min, reset_limit 1 ns\n") !=
        std::string::npos);

    CHECK(member(shown, "plain")["pool"]["times"].is_null());
    CHECK(member(shown, "full")["pool"]["times"]["held"]["count"] == 0);
    CHECK(text.find(" times, p50") == std::string::npos);
    arena->full.add(1);
    arena->full.acquire().give_back();
    const Json held =
        member(parsed(lagoon_tool("show --json " + name)), "full")["pool"]["times"]["held"];
    CHECK(held["count"] == 1);
    CHECK(held["p50_ns"] == arena->full.times().held.quantile(1).count());
    CHECK(held["max_ns"] == held["p50_ns"]);
    CHECK(lagoon_tool("show " + name).out.find("\n  held 1 times, p50 ") != std::string::npos);
}
