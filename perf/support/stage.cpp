#include "stage.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <stdexcept>
#include <system_error>

#include "environment.hpp"
#include "futex.hpp"

namespace lagoon_perf {

namespace {

constexpr std::size_t file_bytes = std::size_t{8} << 30;  // sparse: only touched pages exist
constexpr int helper_file = 3;                            // the file's descriptor in a helper
constexpr long long patience_ns = 120'000'000'000;

[[noreturn]] void fail(const char* what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

Stage::Stage(const StageOptions& options) : options_(options) {
    if (options_.participants > max_participants) throw std::logic_error("too many participants");
    if (is_creator()) {
        options_.file = memfd_create("lagoon-perf", MFD_CLOEXEC);
        if (options_.file < 0) fail("memfd_create");
        if (ftruncate(options_.file, static_cast<off_t>(file_bytes)) != 0) fail("ftruncate");
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    void* mapped = mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, options_.file, 0);
    if (mapped == MAP_FAILED) fail("mmap");
    base_ = static_cast<std::byte*>(mapped);
    const bool crowded = options_.participants > allowed_cpus().size() || options_.shares_cpu;
    spins_ = crowded ? 50 : 4000;
    yields_ = crowded ? 0 : 20'000;
    if (options_.cpu >= 0) pin_to(options_.cpu);
    control_ = &place<Control>();
}

Stage::~Stage() {
    for (const int helper : helpers_) {
        kill(helper, SIGKILL);
        waitpid(helper, nullptr, 0);
    }
    munmap(base_, file_bytes);
    close(options_.file);
}

std::size_t Stage::size_bytes() { return file_bytes; }

std::string Stage::next_name() {
    return "perf." + options_.run_id + "." + std::to_string(names_++);
}

void* Stage::reserve(std::size_t size_bytes, std::size_t alignment_bytes) {
    // A page for each: no two subjects share a cache line or a page.
    constexpr std::size_t page_bytes = 4096;
    if (alignment_bytes > page_bytes) throw std::logic_error("alignment beyond a page");
    const std::size_t at = used_bytes_;
    used_bytes_ = (at + size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    if (used_bytes_ > file_bytes) throw std::runtime_error("the shared file is too small");
    return base_ + at;
}

void Stage::start_helpers(std::vector<std::string> arguments, const std::vector<int>& cpus) {
    if (!is_creator()) return;
    for (unsigned participant = 1; participant < options_.participants; ++participant) {
        std::vector<std::string> words = arguments;
        words.insert(words.end(), {"--participant", std::to_string(participant)});
        if (!cpus.empty()) {
            words.insert(words.end(), {"--cpu", std::to_string(cpus[participant % cpus.size()])});
        }
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, options_.file, helper_file);
        pid_t helper = 0;
        const int error =
            posix_spawn(&helper, "/proc/self/exe", &files, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        if (error != 0) fail("posix_spawn", error);
        helpers_.push_back(helper);
    }
}

void Stage::join_helpers() {
    while (!helpers_.empty()) {
        const pid_t helper = helpers_.back();
        helpers_.pop_back();
        int status = 0;
        if (waitpid(helper, &status, 0) != helper) fail("waitpid");
        if (status != 0) throw std::runtime_error("a helper process failed");
    }
}

void Stage::meet() { meet_at(control_->all, options_.participants); }

void Stage::meet_at(Barrier& barrier, unsigned count) {
    if (count == 1) return;
    const bool at_once = sitting_out_;
    sitting_out_ = false;
    // B0 relaxed load, no pair: the phase cannot move before this participant has arrived.
    const std::uint32_t phase = barrier.phase.load(std::memory_order_relaxed);
    // B1 acq_rel RMW -> B1, <- B1: the last to arrive has seen what the others wrote.
    if (barrier.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
        // B2 relaxed store, no pair: B3 publishes it.
        barrier.arrived.store(0, std::memory_order_relaxed);
        // B3 release store -> B4.
        barrier.phase.store(phase + 1, std::memory_order_release);
        futex_wake(barrier.phase, INT_MAX);
        return;
    }
    const long long give_up_ns = clock_ns() + patience_ns;
    for (int turns = at_once ? spins_ + yields_ : 0;; ++turns) {
        // B4 acquire load <- B3.
        if (barrier.phase.load(std::memory_order_acquire) != phase) return;
        if (turns < spins_) {
            lagoon::detail::cpu_relax();
        } else if (turns < spins_ + yields_) {
            sched_yield();
        } else {
            futex_sleep(barrier.phase, phase);
            check_alive();
            if (clock_ns() > give_up_ns) throw std::runtime_error("a participant did not arrive");
        }
    }
}

void Stage::check_alive() {
    for (std::size_t i = 0; i < helpers_.size(); ++i) {
        int status = 0;
        if (waitpid(helpers_[i], &status, WNOHANG) != helpers_[i]) continue;
        helpers_.erase(helpers_.begin() + static_cast<std::ptrdiff_t>(i--));
        // One that ended well has passed this barrier, which was its last, before us.
        if (status != 0) throw std::runtime_error("a helper process ended early");
    }
}

long long Stage::clock_ns() { return now_ns(); }

}  // namespace lagoon_perf
