// marks_test.cpp: the marks of who waits for a pool, gathers from it or closes it.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"
#include "runtime/pool_demand.hpp"

using namespace model;

namespace {

void announce(PoolRoot<1>& root) {
    detail::announce_wait(PoolScene<1>::pool_of(root), detail::lane_of(&root));
}
void withdraw(PoolRoot<1>& root) {
    detail::withdraw_wait(PoolScene<1>::pool_of(root), detail::lane_of(&root));
}
/// As a releaser whose wake-up has met nobody.
void drop_stale(PoolRoot<1>& root) { detail::drop_stale_demand(PoolScene<1>::pool_of(root)); }
/// The mark of the one who has announced itself.
void stands(PoolRoot<1>& root) {
    detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
    require((body.demand.load(std::memory_order_relaxed) & 1) != 0, "the mark is lost");
    require(detail::waiting_lanes(body) == 1, "the lane's mark is lost");
}
/// The same beside a release, which may have hidden it from others: whoever has the mark is awake.
void is_counted(PoolRoot<1>& root) {
    detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
    require(detail::waiting_lanes(body) == 1, "the lane's mark is lost");
}
/// The summary shows that somebody waits, if somebody does.
void summary_is_right(PoolRoot<1>& root) {
    detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
    const bool shown = detail::is_demanded(body.demand.load(std::memory_order_relaxed));
    require(shown == (detail::waiting_lanes(body) != 0), "the summary of the marks is wrong");
}

}  // namespace

TEST_CASE("model: a waiter's mark stands while another one's goes") {
    PoolScene<1> scene{"pool.marks"};
    scene.actor("a", 0, announce, {}).actor("b", 1, withdraw, announce);
    scene.check(summary_is_right);
    look_everywhere(scene.program(), 3);
    look_lagging(scene.program(), 3, 2);
    PoolScene<1> three{"pool.marks.three"};
    three.actor("a", 0, announce, {}).actor("b", 1, withdraw, announce).actor("c", 2, [](auto& r) {
        announce(r);
        withdraw(r);
    });
    three.check(summary_is_right);
    look_everywhere(three.program(), 2);
    look_lagging(three.program(), 2, 2);
}

TEST_CASE("model: who is stopped while its mark goes hides no other one's") {
    PoolScene<1> scene{"pool.marks.stopped"};
    // Killed, and not known to be dead, it is one who is stopped.
    scene.actor("a", 0, withdraw, announce).mortal({0});
    scene.actor("b", 1,
                [](PoolRoot<1>& root) {
                    announce(root);
                    detail::heavy_fence();
                    await([] { return is_killed(0) || is_finished(0); });
                    const auto& body = detail::body_of(PoolScene<1>::pool_of(root));
                    require(detail::is_demanded(detail::demand_of(body)),
                            "the mark is not to be seen");
                },
                {});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a waiter's mark stands beside the marks of who gathers and who closes") {
    PoolScene<1> gathers{"pool.marks.gathers"};
    gathers.idle(1);
    gathers.thread("b", 1, [](PoolRoot<1>& root) { (void)root.pool.try_acquire_n(1); });
    gathers.actor("a", 0, announce, {});
    gathers.check(is_counted);
    look(gathers.program(), Under::coherent, 2);
    PoolScene<1> closes{"pool.marks.closes"};
    const auto closed_beside = [](PoolRoot<1>& root) {
        stands(root);
        detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
        const auto demand = body.demand.load(std::memory_order_relaxed);
        require((demand & detail::demand_attention) != 0, "the mark of the closing is lost");
    };
    closes.thread("b", 1, [](PoolRoot<1>& root) { root.pool.close(); });
    closes.actor("a", 0, announce, {});
    closes.check(closed_beside);
    look(closes.program(), Under::coherent, 2);
    look_lagging(closes.program(), 2, 2);
    PoolScene<1> goes{"pool.marks.goes"};
    goes.actor(
        "a", 0,
        [](PoolRoot<1>& root) {
            withdraw(root);
            announce(root);
        },
        announce);
    goes.thread("b", 1, [](PoolRoot<1>& root) { root.pool.close(); }).check(closed_beside);
    look(goes.program(), Under::coherent, 2);
}

TEST_CASE("model: the mark of a closing stands beside marks that go, come and are restored") {
    const auto closing_stands = [](PoolRoot<1>& root) {
        detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
        const auto demand = body.demand.load(std::memory_order_relaxed);
        require((demand & detail::demand_attention) != 0, "the mark of the closing is lost");
    };
    const auto close = [](PoolRoot<1>& root) { root.pool.close(); };
    const auto repair = [](PoolRoot<1>& root) {
        await([] { return is_buried(0); });
        detail::repair_the_dead(*detail::attachment_of(&root));
    };
    PoolScene<1> goes{"pool.marks.goes.comes"};
    goes.actor("a", 0, withdraw, announce).actor("b", 1, announce, {});
    goes.thread("c", 2, close).check(closing_stands);
    look(goes.program(), Under::coherent, 3);
    PoolScene<1> dies{"pool.marks.dies"};
    dies.actor(
        "a", 0, [](PoolRoot<1>&) { die(); }, announce);
    dies.thread("b", 1, repair).thread("c", 2, close).check(closing_stands);
    look(dies.program(), Under::coherent, 2);
    PoolScene<1> gathers{"pool.marks.gatherer.dies"};
    gathers.actor(
        "a", 0, [](PoolRoot<1>&) { die(); },
        [](PoolRoot<1>& root) {
            detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
            const detail::LaneView& lane = detail::lane_of(&root);
            body.bulk.store(detail::gatherer_token(*lane.attachment, lane.lane),
                            std::memory_order_relaxed);
        });
    gathers.thread("b", 1, repair).thread("c", 2, close).check(closing_stands);
    look(gathers.program(), Under::coherent, 2);
}

TEST_CASE("model: marks stand while bits that stand for nothing go") {
    PoolScene<1> scene{"pool.marks.nobodys"};
    scene.arranged([](PoolRoot<1>& root) {
        root.pool.add({0, 0});
        detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
        body.demand.store(std::uint64_t{1} << 20, std::memory_order_relaxed);
    });
    scene.thread("a", 0, drop_stale);
    scene.actor("b", 1, announce, {});
    scene.check([](PoolRoot<1>& root) {
        stands(root);
        detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
        const auto demand = body.demand.load(std::memory_order_relaxed);
        require((demand >> 20 & 1) == 0, "a bit that stands for nothing is left");
    });
    look(scene.program(), Under::coherent, 2);
}

TEST_CASE("model: a mark is not dropped by an older look at its lane") {
    // It has no lane before it comes; who meets nobody asleep looks whose mark it is.
    PoolScene<1> scene{"pool.marks.new"};
    scene.thread("b", 1, drop_stale);
    scene.actor("a", 0, announce);
    scene.check(stands);
    look(scene.program(), Under::coherent, 2);
    look_lagging(scene.program(), 2, 2);
}

TEST_CASE("model: a dead lane's mark is dropped without hiding its next owner") {
    PoolScene<1> scene{"pool.marks.dead", {.lanes = 2}};
    scene.idle(1);
    scene.holder("b", 1);
    scene.actor(
        "a", 0, [](PoolRoot<1>&) { die(); }, announce);
    scene.actor("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(0); });
        detail::repair_the_dead(*detail::attachment_of(&root));
        auto lease = root.pool.acquire();
        use(*lease);
    });
    look(scene.program(), Under::coherent, 2);
    look(scene.program(), Under::histories, 2);
    look(scene.program(), Under::buffers, 1);
}

TEST_CASE("model: a wake-up that met nobody hides no mark that is made behind it") {
    // The second of two that come back is what the sleeper wants: the first is somebody else's by
    // now. Who brings it may still be about to hide the marks that it has seen.
    PoolScene<1> scene{"pool.marks.hidden"};
    const auto come_back = [](std::uint64_t number) {
        return [number](PoolRoot<1>& root) {
            detail::PoolObject& pool = PoolScene<1>::pool_of(root);
            detail::PoolBody& body = detail::body_of(pool);
            if (number == 2) body.last_freed.store(number, std::memory_order_release);
            detail::light_fence();
            if (detail::is_demanded(body.demand.load(std::memory_order_seq_cst))) {
                detail::wake_for_idle(pool);
            }
        };
    };
    scene.thread("a", 0, come_back(1)).thread("b", 1, come_back(2));
    scene.thread("c", 2, [](PoolRoot<1>& root) {
        detail::PoolBody& body = detail::body_of(PoolScene<1>::pool_of(root));
        const lagoon::detail::Patience patience;
        detail::Sleeper sleeper{&root, body.event, patience};
        for (;;) {
            const std::uint32_t seen = body.event.load(std::memory_order_acquire);
            announce(root);
            detail::heavy_fence();
            if (body.last_freed.load(std::memory_order_acquire) == 2) break;
            (void)sleeper.sleep(seen);
        }
        withdraw(root);
    });
    scene.check(summary_is_right);
    look(scene.program(), Under::coherent, 3);
    look(scene.program(), Under::histories, 2);
    look(scene.program(), Under::buffers, 2);
}
