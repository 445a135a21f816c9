# frozen_string_literal: true

require "fileutils"
require "ipaddr"
require "yaml"

# Lab is what lab.yaml describes: machines with their names and addresses, and the files that tell
# kubewright of them. It knows nothing of Vagrant.
class Lab
  # A fault of lab.yaml or of the environment.
  class Error < StandardError; end

  # Memory is in MiB.
  Machine = Struct.new(:name, :role, :address, :cpus, :memory, keyword_init: true)

  # How to log in to a machine: the user, the path of the private key, and the public key with which
  # the machine has to answer, as in a .pub file.
  Login = Struct.new(:user, :key_file, :host_key, keyword_init: true)

  GROUP = {"count" => Integer, "cpus" => Integer, "memory" => Integer}.freeze
  KEYS = {
    "kubernetes" => String, "box" => String, "network" => String,
    "control_planes" => GROUP, "workers" => GROUP,
    "docker" => {"base" => String}, "cluster" => Hash
  }.freeze

  # Places in the network, counted from its address.
  VIP = 10
  FIRST_WORKER = 20
  BALANCERS = [230, 250].freeze
  MOST = {"control-plane" => 9, "worker" => 200}.freeze

  class << self
    # Whether this process has made the cluster: Vagrant reads its file anew for every machine.
    attr_accessor :made
  end

  attr_reader :machines

  # file is the path of lab.yaml, env the environment, state the folder in which Vagrant keeps what
  # it knows of its machines.
  def initialize(file, env:, state:)
    @file = file
    @settings = read
    @network = parse_network
    @counts = {
      "control-plane" => count("control_planes", "CONTROL_PLANES", env),
      "worker" => count("workers", "WORKERS", env)
    }
    @machines = machines_of("control-plane", "cp", "control_planes", state) + machines_of("worker", "worker", "workers", state)
  end

  def box
    @settings["box"]
  end

  def docker_base
    @settings["docker"]["base"]
  end

  # The network as Docker has it. Vagrant removes networks whose names begin so with the last machine.
  def docker_network
    "vagrant_network_#{@network}"
  end

  def subnet
    "#{@network}/24"
  end

  def control_planes
    @machines.select { |m| m.role == "control-plane" }
  end

  # The virtual IP of the API servers; nil with one control plane.
  def vip
    control_planes.size > 1 ? at(VIP) : nil
  end

  # The folder of the files that are made here.
  def dir
    File.join(File.dirname(@file), ".lab")
  end

  def cluster_file
    File.join(dir, "cluster.yaml")
  end

  def kubeconfig
    File.join(dir, "kubeconfig")
  end

  # Writes cluster.yaml and inventory.yaml. logins are by name of machine.
  def write(logins)
    FileUtils.mkdir_p(dir, mode: 0o700)
    {"cluster.yaml" => cluster, "inventory.yaml" => inventory(logins)}.each do |name, document|
      File.write(File.join(dir, name), "# Written by vagrant up, which writes it again; lab.yaml is the place for changes.\n" +
        YAML.dump(document).delete_prefix("---\n"))
    end
  end

  # The cluster file, as data.
  def cluster
    spec = {"kubernetesVersion" => @settings["kubernetes"], "inventory" => "inventory.yaml"}
    spec["controlPlane"] = {"vip" => {"address" => vip}} if vip
    spec["addons"] = {"metallb" => {"pools" => [{"name" => "lab", "addresses" => [BALANCERS.map { |place| at(place) }.join("-")]}]}} if balanced?
    {
      "apiVersion" => "kubewright.io/v1alpha1", "kind" => "Cluster", "metadata" => {"name" => "vagrant"},
      "spec" => merge(spec, @settings["cluster"])
    }
  end

  # The inventory, as data. Machines are reached, and are nodes, at the address that lab.yaml gives
  # them: other interfaces, such as VirtualBox's NAT with 10.0.2.15 on every machine, are for the way
  # out only.
  def inventory(logins)
    hosts = @machines.map do |m|
      login = logins.fetch(m.name)
      {
        "name" => m.name, "address" => m.address, "nodeIP" => m.address, "roles" => [m.role],
        "ssh" => {"user" => login.user, "keyFile" => login.key_file, "hostKey" => login.host_key}
      }
    end
    {"apiVersion" => "kubewright.io/v1alpha1", "kind" => "Inventory", "hosts" => hosts}
  end

  private

  # Whether there is MetalLB, which cannot be without addresses.
  def balanced?
    addons = @settings["cluster"]["addons"]
    metallb = addons["metallb"] if addons.is_a?(Hash)
    metallb.is_a?(Hash) && metallb["enabled"] == true
  end

  def read
    text = File.read(@file)
    settings = YAML.safe_load(text, filename: @file) || {}
    @lines = YAML.parse(text)&.root
    check(settings, KEYS, [])
    settings
  rescue Errno::ENOENT
    raise Error, "#{@file}: there is no such file"
  rescue Psych::Exception => e
    raise Error, e.message.sub(/\A\((.*)\): /, '\1: ')
  end

  # Refuses what is not as keys says, and what is missing.
  def check(value, keys, path)
    refuse(path, "want a mapping with the keys #{keys.keys.join(", ")}") unless value.is_a?(Hash)
    value.each_key { |k| refuse(path + [k], "unknown key; there are: #{keys.keys.join(", ")}") unless keys.key?(k) }
    keys.each do |name, kind|
      here = path + [name]
      refuse(here, "is missing") unless value.key?(name)
      next check(value[name], kind, here) if kind.is_a?(Hash)
      next if value[name].is_a?(kind)

      refuse(here, "#{value[name].inspect} is no #{WORDS.fetch(kind)}")
    end
  end

  WORDS = {String => "text: put it into quotes", Integer => "whole number", Hash => "mapping"}.freeze
  private_constant :WORDS

  # The error has the line of the key, or of what it should be in.
  def refuse(path, message)
    node = @lines
    path.each do |key|
      found = node.is_a?(Psych::Nodes::Mapping) && node.children.each_slice(2).find { |k, _| k.value == key.to_s }
      break unless found

      node = found.last
    end
    raise Error, "#{@file}:#{node ? node.start_line + 1 : 1}: #{path.empty? ? "" : "#{path.join(".")}: "}#{message}"
  end

  def parse_network
    text = @settings["network"]
    network = IPAddr.new(text)
    unless network.ipv4? && text == "#{network}/24"
      refuse(["network"], "want an IPv4 network of 256 addresses, such as 192.168.56.0/24, not #{text.inspect}")
    end
    network
  rescue IPAddr::Error
    refuse(["network"], "#{text.inspect} is no network; want one such as 192.168.56.0/24")
  end

  # How many machines of a group are asked for.
  def count(group, variable, env)
    role = {"control_planes" => "control-plane", "workers" => "worker"}.fetch(group)
    value = @settings[group]["count"]
    fault = ->(message) { refuse([group, "count"], message) }
    if env.key?(variable)
      value = Integer(env[variable], 10, exception: false)
      fault = ->(message) { raise Error, "#{variable}=#{env[variable]}: #{message}" }
    end
    fault.call("want a number from 1 to #{MOST[role]}") unless value&.between?(1, MOST[role])
    fault.call("want an odd number: etcd survives the loss of no more of #{value} members than of #{value - 1}") if role == "control-plane" && value.even?
    value
  end

  # The machines of a group. Those that exist stay, even if fewer are asked for today, so that
  # `CONTROL_PLANES=3 vagrant up` and then `vagrant destroy` leave nothing behind.
  def machines_of(role, prefix, group, state)
    there = Dir.glob(File.join(state, "machines", "#{prefix}*", "*", "id")).filter_map do |id|
      File.basename(File.dirname(id, 2))[/\A#{prefix}(\d+)\z/, 1]&.to_i
    end
    first = role == "worker" ? FIRST_WORKER : VIP
    (1..[@counts[role], *there].max).map do |n|
      Machine.new(name: "#{prefix}#{n}", role: role, address: at(first + n), **@settings[group].slice("cpus", "memory").transform_keys(&:to_sym))
    end
  end

  def at(place)
    IPAddr.new(@network.to_i + place, Socket::AF_INET).to_s
  end

  # Of two mappings one; elsewhere the second wins.
  def merge(one, other)
    one.merge(other) { |_, a, b| a.is_a?(Hash) && b.is_a?(Hash) ? merge(a, b) : b }
  end
end
