terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_availability_zones" "up" {
  state = "available"
}

data "aws_ami" "ubuntu" {
  most_recent = true
  owners      = ["099720109477"] # Canonical
  filter {
    name   = "name"
    values = ["ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"]
  }
}

resource "aws_key_pair" "admin" {
  key_name_prefix = "kubewright-"
  public_key      = file(pathexpand("${var.ssh_key_file}.pub"))
}

resource "aws_vpc" "cluster" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_internet_gateway" "out" {
  vpc_id = aws_vpc.cluster.id
}

resource "aws_route_table" "out" {
  vpc_id = aws_vpc.cluster.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.out.id
  }
}

# One subnet in each of three zones: control planes and workers are spread over them.
resource "aws_subnet" "zone" {
  count                   = 3
  vpc_id                  = aws_vpc.cluster.id
  cidr_block              = cidrsubnet(aws_vpc.cluster.cidr_block, 8, count.index + 1)
  availability_zone       = element(data.aws_availability_zones.up.names, count.index)
  map_public_ip_on_launch = true
}

resource "aws_route_table_association" "out" {
  count          = 3
  subnet_id      = aws_subnet.zone[count.index].id
  route_table_id = aws_route_table.out.id
}

resource "aws_security_group" "nodes" {
  name_prefix = "kubewright-"
  vpc_id      = aws_vpc.cluster.id

  ingress {
    description = "among the nodes, and from the load balancer"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = [aws_vpc.cluster.cidr_block]
  }
  ingress {
    description = "SSH"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = [var.admin_cidr]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "api" {
  name_prefix = "kubewright-api-"
  vpc_id      = aws_vpc.cluster.id

  ingress {
    description = "the API"
    from_port   = 6443
    to_port     = 6443
    protocol    = "tcp"
    cidr_blocks = [var.admin_cidr]
  }
  egress {
    from_port   = 6443
    to_port     = 6443
    protocol    = "tcp"
    cidr_blocks = [aws_vpc.cluster.cidr_block]
  }
}

resource "aws_instance" "control_plane" {
  count                  = var.control_planes
  ami                    = data.aws_ami.ubuntu.id
  instance_type          = var.instance_type
  key_name               = aws_key_pair.admin.key_name
  subnet_id              = aws_subnet.zone[count.index % 3].id
  vpc_security_group_ids = [aws_security_group.nodes.id]
  tags                   = { Name = "cp${count.index + 1}" }

  root_block_device {
    volume_size = 50
  }
  lifecycle {
    ignore_changes = [ami] # a newer image is no reason to make a control plane anew
  }
}

resource "aws_instance" "worker" {
  count                  = var.workers
  ami                    = data.aws_ami.ubuntu.id
  instance_type          = var.instance_type
  key_name               = aws_key_pair.admin.key_name
  subnet_id              = aws_subnet.zone[count.index % 3].id
  vpc_security_group_ids = [aws_security_group.nodes.id]
  tags                   = { Name = "worker${count.index + 1}" }

  root_block_device {
    volume_size = 50
  }
  lifecycle {
    ignore_changes = [ami]
  }
}

resource "aws_lb" "api" {
  name_prefix                      = "kw-"
  load_balancer_type               = "network"
  subnets                          = aws_subnet.zone[*].id
  security_groups                  = [aws_security_group.api.id]
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "api" {
  name_prefix        = "kw-"
  port               = 6443
  protocol           = "TCP"
  vpc_id             = aws_vpc.cluster.id
  preserve_client_ip = false # a control plane may reach itself through the load balancer
}

resource "aws_lb_target_group_attachment" "api" {
  count            = var.control_planes
  target_group_arn = aws_lb_target_group.api.arn
  target_id        = aws_instance.control_plane[count.index].id
}

resource "aws_lb_listener" "api" {
  load_balancer_arn = aws_lb.api.arn
  port              = 6443
  protocol          = "TCP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}
