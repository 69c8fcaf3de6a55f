// command_line.cpp: the command line of `lagoon`.
#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include <lagoon/error.hpp>

#include "commands.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

namespace {

constexpr std::uint64_t shown_by_default = 16;

constexpr const char* about =
    "Looks into lagoon arenas and takes part in them.\n"
    "Arenas are files lagoon.NAME in the directory given by --directory, else by LAGOON_DIR, else "
    "in /dev/shm.";

constexpr const char* statuses =
    "Exit status: 0 done; 1 the ordinary outcome that is not success (nothing of that name to "
    "remove, no lease to be had); 2 wrong usage or an error, told on standard error. lease: the "
    "command's, see there.\n"
    "Standard output gets nothing but data. Texts that come out of an arena have control "
    "characters and backslashes escaped.";

constexpr const char* about_add =
    "Adds AMOUNT (which may be negative) in one step to a Counter, a ShardedCounter, or a number "
    "in "
    "a Value or an Array. Integers wrap.\n"
    "Prints the number just before, so that two who add never get the same one; of a "
    "ShardedCounter the sum just after, which may have others' additions in it, too.";

constexpr const char* about_lease =
    "Takes an idle resource of a pool, runs COMMAND, and gives the resource back.\n"
    "Exit status: the command's, 128 + N when signal N killed it, 127 or 126 when it could not be "
    "run; 1 (--conflict-exit-code) when no lease was to be had; 2 on errors.\n"
    "The command finds in its environment: LAGOON_ARENA, LAGOON_POOL, LAGOON_SLOT (the index), "
    "LAGOON_FILL (changes when the slot gets a new resource), LAGOON_RECOVERED (1 after a borrower "
    "died with the resource and nobody has vouched for it since), LAGOON_VALUE_HEX (the resource's "
    "bytes, up to 30000 of them) and, where it is a number or a text, LAGOON_VALUE.\n"
    "SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1 and SIGUSR2 are handed on to the command. When "
    "lagoon itself is killed with SIGKILL, the kernel kills the command, too (not what the command "
    "started in turn, nor a set-user-ID program), and the resource is taken back as from any dead "
    "process; for the moment between the two another holder may already have it.";

/// Everything that the command line can say, and what is done about it.
class CommandLine {
public:
    CommandLine() {
        app_.require_subcommand(1);
        app_.fallthrough();
        app_.footer(statuses);
        app_.set_version_flag("--version", "lagoon " LAGOON_TOOL_VERSION);
        app_.add_option("--directory", common_.directory, "Where the arenas are")->type_name("DIR");
        app_.add_option("--owner", common_.owner,
                        "Trust arenas of this user id, too, beside our own and root's")
            ->type_name("UID")
            ->check(CLI::NonNegativeNumber);
        add_inspection();
        add_changes();
        add_lease();
    }

    int run(int argc, char** argv) {
        try {
            app_.parse(argc, argv);
        } catch (const CLI::ParseError& error) {
            return app_.exit(error, std::cout, std::cerr) == 0 ? 0 : exit_error;
        }
        return action_();
    }

private:
    CLI::App* add_command(const char* name, const char* what, std::function<int()> action) {
        CLI::App* command = app_.add_subcommand(name, what);
        command->callback([this, action = std::move(action)] { action_ = action; });
        return command;
    }
    void add_json(CLI::App* command) { command->add_flag("--json", common_.json, "Print JSON"); }

    void add_inspection() {
        CLI::App* ls = add_command(
            "ls", "Lists the arenas. Removes the names of scoped ones that nobody is left in.",
            [this] { return list(common_); });
        add_json(ls);
        CLI::App* one = add_command("show", "Shows an arena: its processes, members and values.",
                                    [this] { return show(common_, place_.arena, limit_); });
        one->add_option("NAME", place_.arena, "The arena")->required();
        one->add_option("--limit", limit_,
                        "At most N elements of each array and N filled slots of each pool; 0: all")
            ->type_name("N")
            ->capture_default_str();
        add_json(one);
    }

    void add_changes() {
        CLI::App* repair = add_command(
            "reap",
            "Takes back what dead processes held, and prints what it did. Removes a scoped arena "
            "that nobody is left in. Slots that need a hook stay dirty: hooks are code of the "
            "arena's own programs.",
            [this] { return reap(common_, place_.arena); });
        repair->add_option("NAME", place_.arena, "The arena")->required();
        add_json(repair);
        CLI::App* end = add_command(
            "evict",
            "Kills a process that is attached (SIGKILL), waits until its death is proved, and "
            "takes back what it held.",
            [this] { return evict(common_, place_.arena, pid_, timeout_seconds_); });
        end->add_option("NAME", place_.arena, "The arena")->required();
        end->add_option("PID", pid_, "The process, as `show` lists it")->required();
        end->add_option("--timeout", timeout_seconds_, "Wait no longer than that")
            ->type_name("SECONDS")
            ->check(CLI::NonNegativeNumber);
        add_json(end);
        CLI::App* unlink = add_command(
            "rm",
            "Removes the name of an arena, also of a damaged file. Who is attached goes on; nobody "
            "new can open it.",
            [this] { return remove(common_, place_.arena); });
        unlink->add_option("NAME", place_.arena, "The arena")->required();
        add_json(unlink);
        CLI::App* read = add_command("get",
                                     "Prints a counter, a value, an element of an array, or, "
                                     "without INDEX, all of its elements, one a line.",
                                     [this] { return get(common_, place_); });
        add_place(read);
        add_index(read);
        add_json(read);
        CLI::App* change =
            add_command("add", about_add, [this] { return add(common_, place_, amount_); });
        add_place(change);
        change->add_option("AMOUNT", amount_, "What to add")->required();
        add_index(change);
    }

    void add_place(CLI::App* command) {
        command->add_option("ARENA", place_.arena, "The arena")->required();
        command->add_option("MEMBER", place_.member, "A member of its struct")->required();
    }
    void add_index(CLI::App* command) {
        command->add_option("INDEX", place_.index, "An element of an array, from 0");
    }

    void add_lease() {
        CLI::App* hold =
            add_command("lease", about_lease, [this] { return lease(common_, lease_); });
        hold->add_option("ARENA", lease_.arena, "The arena")->required();
        hold->add_option("POOL", lease_.pool, "A pool of its struct")->required();
        hold->add_option("COMMAND", lease_.command, "The command, behind --")->required();
        CLI::Option* timeout =
            hold->add_option("--timeout", lease_.timeout_seconds, "Wait no longer than that")
                ->type_name("SECONDS")
                ->check(CLI::NonNegativeNumber);
        hold->add_flag("--no-wait", lease_.no_wait, "Do not wait at all")->excludes(timeout);
        hold->add_option("--conflict-exit-code", lease_.conflict_exit_code,
                         "The exit status when there is no lease to be had")
            ->type_name("N")
            ->check(CLI::Range(0, 255))
            ->capture_default_str();
        hold->add_flag("--mark-clean", lease_.mark_clean,
                       "Vouch for a recovered resource when the command succeeds");
    }

    CLI::App app_{about, "lagoon"};
    Common common_;
    Place place_;
    LeaseRequest lease_;
    std::string amount_;
    std::uint32_t pid_ = 0;
    std::optional<double> timeout_seconds_;
    std::uint64_t limit_ = shown_by_default;
    std::function<int()> action_;
};

}  // namespace

int run(int argc, char** argv) {
    try {
        return CommandLine{}.run(argc, argv);
    } catch (const std::exception& error) {
        complain(error.what());
        return exit_error;
    }
}

}  // namespace lagoon::inline v1::tool
