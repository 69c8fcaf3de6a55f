#include "growth_facts.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include <lagoon/arena.hpp>
#include <lagoon/pool.hpp>

#include "peers/lagoon_pool.hpp"
#include "support/environment.hpp"
#include "support/statistics.hpp"

namespace lagoon_perf {

namespace {

using Arena = lagoon::Arena<PoolArena>;

/// Runs `act(answer)` in a child until it ends or is killed; `answer` is a pipe to the parent.
template <class Act>
class Child {
public:
    explicit Child(Act act) {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
        pid_ = fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ == 0) {
            close(ends[0]);
            act(ends[1]);
            _exit(0);
        }
        close(ends[1]);
        answers_ = ends[0];
    }
    ~Child() {
        end();
        close(answers_);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    double answer() {
        double value = 0;
        if (read(answers_, &value, sizeof value) != sizeof value) {
            throw std::runtime_error("a child ended without an answer");
        }
        return value;
    }
    void end() {
        if (pid_ == 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }

private:
    pid_t pid_ = 0;
    int answers_ = -1;
};

void tell(int pipe, double value) {
    if (write(pipe, &value, sizeof value) != sizeof value) _exit(1);
}

double attach_us(const std::string& name, lagoon::Count slots) {
    Child child([&](int pipe) {
        const long long begin_ns = now_ns();
        const Arena arena = Arena::open(name, slots);
        tell(pipe, static_cast<double>(now_ns() - begin_ns) / 1000);
    });
    return child.answer();
}

/// From the call of reap() on, after a holder of one slot was killed and waited for.
double reap_us(Arena& arena, const std::string& name, lagoon::Count slots) {
    Child child([&](int pipe) {
        const Arena own = Arena::open(name, slots);
        const auto lease = own->pool.try_acquire();
        tell(pipe, lease ? 1 : 0);
        for (;;) pause();
    });
    if (child.answer() != 1) throw std::runtime_error("found nothing to take");
    child.end();
    const long long begin_ns = now_ns();
    const lagoon::Reaped reaped = arena.reap();
    const double us = static_cast<double>(now_ns() - begin_ns) / 1000;
    // The keeper or an attaching process may have been faster; the time is that of a look, then.
    return reaped.leases == 1 ? us : -1;
}

}  // namespace

std::vector<Fact> attach_and_reap(const std::string& run_id, bool quick) {
    std::vector<Fact> facts;
    for (const std::uint64_t slots : {std::uint64_t{64}, std::uint64_t{1'000'000}}) {
        if (quick && slots > 64) break;
        const std::string name = "perf." + run_id + ".reap";
        Arena arena = Arena::create(name, lagoon::ArenaOptions{}, lagoon::Count{slots});
        for (std::uint64_t slot = 0; slot < slots; ++slot) arena->pool.add(PooledWord{slot});
        std::vector<double> attach;
        std::vector<double> reap;
        for (int n = 0; n < (quick ? 2 : 21); ++n) {
            attach.push_back(attach_us(name, lagoon::Count{slots}));
            const double us = reap_us(arena, name, lagoon::Count{slots});
            if (us >= 0) reap.push_back(us);
        }
        const std::string what = ", " + std::to_string(slots) + " slots";
        facts.push_back({"attach" + what, summarize(attach).median, "us"});
        if (!reap.empty()) {
            facts.push_back(
                {"reap one lease of a dead process" + what, summarize(reap).median, "us"});
        }
    }
    return facts;
}

}  // namespace lagoon_perf
