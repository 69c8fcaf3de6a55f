// points.hpp: an operation killed at its instructions.
//
// A point is a number of instructions after which the process is killed. The interesting ones are
// found in one stepped run: after them the arena's bytes differ from before, or the kernel was
// asked for something and may have changed its state. The sweeps kill there, and at every 16th of
// the other instructions as well; in an operation of 2,000 and more at fewer, spread over all of
// it. LAGOON_STRESS asks for the full form: every instruction of the shorter ones, every 16th of
// the others. LAGOON_KILL_AT="operation:k" asks for that one point.
//
// To come to point k nobody steps k times: a forked process has its code where all others have it,
// so a breakpoint on an instruction that is rarely passed brings it near. Where a run takes
// another way than the stepped one (a retry, a spin that ends sooner), the point is the nearest
// that it comes past, or the operation is over: then that is checked instead.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <unordered_map>

#include "kill/stepper.hpp"

namespace rig {

/// How an operation is run and looked at; given by the subject.
struct Scene {
    std::string name;
    /// Sets the scene; a process halted before its operation, which will be stepped slowly or be
    /// brought quickly to where it is killed.
    std::function<std::unique_ptr<Stepper>(bool slowly)> start;
    /// The bytes whose changes matter, where they lie in this process; may be empty for now.
    std::function<std::pair<const std::byte*, std::size_t>()> bytes;
    /// The operation sleeps in the kernel: lets it go on.
    rig::WhenBlocked blocked = nullptr;
    /// What must hold once the process is dead, or at the operation's end.
    std::function<void(Stepper& process, bool over)> check;
};

/// A copy of bytes that others change.
class Watch {
public:
    explicit Watch(const Scene& scene) : scene_{scene} { (void)changed(); }
    /// Since the last call.
    bool changed() {
        const auto [at, size] = scene_.bytes();
        if (size == last_.size() && (size == 0 || std::memcmp(last_.data(), at, size) == 0)) {
            return false;
        }
        last_.assign(at, at + size);
        return true;
    }

private:
    const Scene& scene_;
    std::vector<std::byte> last_;
};

/// One run of an operation, instruction by instruction.
struct Recording {
    std::vector<std::uintptr_t> at;        // the next instruction after i steps
    std::vector<std::uint64_t> arrivals;   // how often it has been the next one by then
    std::vector<std::uint64_t> landmarks;  // from where to step, at best, to come to i
    std::vector<std::uint64_t> changed;    // points
    std::uint64_t first = 0;               // steps before the operation's first instruction
    bool fell_asleep = false;

    [[nodiscard]] std::uint64_t length() const { return at.size() - first; }
};

inline bool enters_kernel(const Stepper& process, std::uintptr_t address) {
    // Every process here is a fork of this one: code lies at the same place in all of them.
    static std::unordered_map<std::uintptr_t, bool> known;
    const auto found = known.find(address);
    if (found != known.end()) return found->second;
    return known[address] = process.is_system_call(address);
}

/// Does the system call only ask? Then nobody else can tell whether it was made.
inline bool only_asks(long call) {
    switch (call) {
        case SYS_getpid:
        case SYS_gettid:
        case SYS_getuid:
        case SYS_geteuid:
        case SYS_clock_gettime:
        case SYS_clock_nanosleep:
        case SYS_fstat:
        case SYS_newfstatat:
        case SYS_read:
        case SYS_readlinkat:
        case SYS_lseek:
        case SYS_brk:
        case SYS_mprotect:
        case SYS_rt_sigprocmask:
        case SYS_rt_sigaction:
        case SYS_sched_getaffinity:
        case SYS_getrandom:
        case SYS_sysinfo: return true;
        default: return false;
    }
}

/// For every i the step from which to go on by single steps, so that hits and steps are fewest.
/// An instruction that repeats itself is left out: a breakpoint there stops once for all rounds.
inline void find_landmarks(Recording& recording) {
    std::unordered_map<std::uintptr_t, std::uint64_t> seen;
    const auto& at = recording.at;
    recording.arrivals.assign(at.size(), 0);
    recording.landmarks.assign(at.size(), 0);
    std::uint64_t best = 0;
    const auto cost = [&](std::uint64_t i) {
        return recording.arrivals[i] + (std::numeric_limits<std::uint32_t>::max() - i);
    };
    for (std::uint64_t i = 1; i < at.size(); ++i) {
        if (at[i] != at[i - 1]) {
            recording.arrivals[i] = ++seen[at[i]];
            const bool repeats = i + 1 < at.size() && at[i + 1] == at[i];
            if (!repeats && (best == 0 || cost(i) <= cost(best))) best = i;
        }
        recording.landmarks[i] = best;
    }
}

/// Steps through the operation. `until_asleep`: only as far as it comes without help.
inline Recording record(Stepper& process, const Scene& scene, bool until_asleep = false,
                        bool with_questions = true) {
    Recording recording;
    Watch watch{scene};
    bool begun = false;
    int naps = 0;
    bool blocked = false;
    const rig::WhenBlocked when_blocked = [&] {
        recording.fell_asleep = true;
        if (until_asleep) {
            blocked = true;
        } else if (scene.blocked) {
            scene.blocked();
        }
    };
    for (;;) {
        const auto [address, call] = process.registers();
        recording.at.push_back(address);
        if (!begun && process.running()) {
            begun = true;
            recording.first = recording.at.size() - 1;
            (void)watch.changed();
        }
        const bool kernel = enters_kernel(process, address);
        if (kernel && call == SYS_clock_nanosleep && until_asleep && ++naps > 3) break;
        const Stop stop = until_asleep && kernel ? process.step_or_sleep(when_blocked, &blocked)
                                                 : process.step(kernel ? when_blocked : nullptr);
        if (stop != Stop::halted || blocked || (begun && !process.running())) break;
        const bool asked = kernel && (with_questions || !only_asks(call));
        // Not short-circuited: the copy is to be the last state.
        if ((watch.changed() || asked) && begun) {
            recording.changed.push_back(recording.at.size() - recording.first);
        }
    }
    if (recording.changed.empty() || recording.changed.front() != 0) {
        recording.changed.insert(recording.changed.begin(), 0);
    }
    while (!recording.changed.empty() && recording.changed.back() >= recording.length()) {
        recording.changed.pop_back();
    }
    find_landmarks(recording);
    return recording;
}

/// "pool_give_back+0x1c (lagoon_kill_pool_points+0x3f2a)"
inline std::string name_of(std::uintptr_t address) {
    Dl_info info{};
    if (::dladdr(reinterpret_cast<const void*>(address), &info) == 0) return "?";
    const auto hex = [](std::uintptr_t number) {
        char text[32];
        std::snprintf(text, sizeof text, "+0x%zx", static_cast<std::size_t>(number));
        return std::string{text};
    };
    const std::string file = info.dli_fname;
    std::string text = file.substr(file.rfind('/') + 1) +
                       hex(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    if (info.dli_sname != nullptr) {
        text += std::string{" "} + info.dli_sname +
                hex(address - reinterpret_cast<std::uintptr_t>(info.dli_saddr));
    }
    return text;
}

/// Brings a process that was just started to a point of the recorded run, or to the end; or leaves
/// it asleep on the way once `enough` says so.
inline Stop bring_to(Stepper& process, const Recording& recording, std::uint64_t point,
                     const rig::WhenBlocked& blocked, const bool* enough = nullptr) {
    const std::uint64_t steps = recording.first + point;
    const std::uint64_t landmark = recording.landmarks[steps];
    if (landmark > 0) {
        process.run_to(recording.at[landmark], recording.arrivals[landmark], blocked, enough);
    }
    for (std::uint64_t i = landmark; i < steps && process.state() == Stop::halted; ++i) {
        if (process.asleep()) break;
        process.step_or_sleep(blocked, enough);
    }
    return process.state();
}

struct Report {
    std::uint64_t changed = 0;
    std::uint64_t other = 0;
    std::uint64_t length = 0;
};

inline bool in_full() { return std::getenv("LAGOON_STRESS") != nullptr; }
/// The point of LAGOON_KILL_AT, if it is of this operation; -2: of another one; -1: not set.
inline std::int64_t only_point(const std::string& name) {
    const char* wanted = std::getenv("LAGOON_KILL_AT");
    if (wanted == nullptr) return -1;
    const std::string text{wanted};
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || text.substr(0, colon) != name) return -2;
    return std::stoll(text.substr(colon + 1));
}

/// The points to kill at: all where something changed, and some of the others.
inline std::vector<std::uint64_t> choose(const Recording& recording, Report& report,
                                         std::uint64_t most_others) {
    std::vector<std::uint64_t> points = recording.changed;
    std::uint64_t stride = 16;
    if (in_full()) {
        if (recording.length() < 2000) stride = 1;
    } else {
        // Under 2,000 instructions nothing is left out.
        if (recording.length() >= 2000) stride = recording.length() / most_others;
    }
    for (std::uint64_t k = stride - 1; k < recording.length(); k += stride) {
        if (!std::binary_search(recording.changed.begin(), recording.changed.end(), k)) {
            points.push_back(k);
        }
    }
    report.changed = recording.changed.size();
    report.other = points.size() - report.changed;
    report.length = recording.length();
    return points;
}

/// Kills the operation at its points, one run each, and lets it end once; looks after each. Prints
/// how many points there were, and fails without any.
inline Report sweep(const Scene& scene, std::uint64_t most_others) {
    Report report;
    const std::int64_t only = only_point(scene.name);
    if (only == -2) return report;
    {
        // Everything that is made once is made now, and all runs take the same way from here on.
        auto process = scene.start(false);
        INFO(scene.name << ": without a stop");
        scene.check(*process, true);
    }
    Recording recording;
    {
        auto process = scene.start(true);
        recording = record(*process, scene);
        INFO(scene.name << ": the stepped run, without a kill");
        REQUIRE(process->state() != Stop::ended);
        scene.check(*process, true);
    }
    auto points = choose(recording, report, most_others);
    if (only >= 0) points = {static_cast<std::uint64_t>(only)};
    std::uint64_t early = 0;
    for (const std::uint64_t point : points) {
        REQUIRE(point < recording.length());
        auto process = scene.start(false);
        const bool over = bring_to(*process, recording, point, scene.blocked) != Stop::halted ||
                          !process->running();
        early += over ? 1 : 0;
        const auto address = process->next_instruction();
        INFO("LAGOON_KILL_AT=\"" << scene.name << ':' << point << "\" before " << name_of(address)
                                 << (over ? ", over by then" : ""));
        if (!over) {
            REQUIRE(process->kill() == support::killed_by(SIGKILL));
        }
        scene.check(*process, over);
    }
    if (only >= 0) {
        std::printf("one point only: %s\n", std::getenv("LAGOON_KILL_AT"));
        return report;
    }
    if (recording.fell_asleep) {
        auto process = scene.start(false);
        const bool asleep = process->run_until_asleep();
        INFO(scene.name << ": killed while it sleeps in the kernel");
        if (asleep) {
            ++report.changed;
            REQUIRE(process->kill() == support::killed_by(SIGKILL));
        }
        scene.check(*process, !asleep);
    }
    std::printf("kill points: changed %3llu, other %4llu, of %6llu instructions  %s%s\n",
                static_cast<unsigned long long>(report.changed),
                static_cast<unsigned long long>(report.other),
                static_cast<unsigned long long>(report.length), scene.name.c_str(),
                early == 0 ? "" : (" (over early: " + std::to_string(early) + ")").c_str());
    std::fflush(stdout);
    REQUIRE(report.changed + report.other > early);
    REQUIRE(report.changed > 0);
    return report;
}

}  // namespace rig
