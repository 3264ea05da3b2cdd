#!/bin/sh
# Train Flow-SDF from silhouettes on 50 generated shapes, and evaluate it on these and on 20 held-out shapes of the
# same kinds. Each training stage writes its own model, whose meshes are evaluated. Compared with: the setting of the
# Flow-SDF paper (one view of each shape), flows trained for few steps with and without noise scaled to the latent
# codes, retrieval, and the visual hulls of the views.
#   sh examples/flow.sh [--size tiny|small] [FOLDER]
# small: takes about 48 minutes on two cores. tiny: takes ten minutes and tests that the script runs; its models are not
# trained long enough for its figures to mean anything.
work=flow options=--size
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
case $size in
tiny) count=30 each=2 views=4 points=10000 first="--steps 150" quick="--steps 5" few=5 ;;
small) count=70 each=5 views=24 points=100000 first='' quick='' few=60 ;;
esac

# Silhouettes do not show hollows, so kinds with hollows (mugs, lamps, tables) are left out.
chosen=
for kind in airplane axe bottle car chair chess_piece elephant guitar horse rocket; do
    chosen="$chosen --category $kind"
done
# shellcheck disable=SC2086  # a list of options
sdfkit shapes $chosen --count "$count" --seed 3 --format ply -o shapes/
sdfkit manifest shapes/ -o manifest.json
python "$root/examples/flow.py" split manifest.json shapes/ --each "$each" -o split/
for set in train held; do
    sdfkit render "split/$set/" --views "$views" -o "$set.zarr"
    sdfkit embed "$set.zarr" --model efficientnet-lite0 -o "$set.features.zarr"
done

# stage NAME OPTION...: trains a model, and keeps the output of the training in NAME.log.
stage() {
    name=$1 && shift && options="$*"
    [ ! -e "$name.log" ] || return 0
    echo "training $name.zarr"
    date +%s >"$name.part"
    # shellcheck disable=SC2086  # a list of options
    sdfkit train-flow train.zarr $options --held-out held.zarr --check-gradients -o "$name.zarr" 2>>"$name.part" || {
        cat "$name.part" && exit 1
    }
    date +%s >>"$name.part"
    cat "$name.part" && mv "$name.part" "$name.log"
}
# shellcheck disable=SC2086  # lists of options
{
    stage encoder --stage encoder $first
    stage distil --stage distil --start encoder.zarr $quick
    stage brief --stage distil --start encoder.zarr --steps $few
    stage unit --stage distil --start encoder.zarr --steps $few --no-code-scale
    stage joint --stage joint --start distil.zarr $quick
    stage rgb --stage rgb --start joint.zarr $quick
    stage one --stage encoder --views-per-shape 1 $first
    stage one_distil --stage distil --start one.zarr --views-per-shape 1 $quick
    stage one_joint --stage joint --start one_distil.zarr --views-per-shape 1 $quick
}

mkdir -p reports
for model in encoder distil brief unit joint rgb one one_joint; do
    for set in train held; do
        [ -e "reports/$model.$set.json" ] && continue
        # Codes are predicted from the first image of each shape. Models trained on one view of each shape have the
        # codes of their training shapes in their own store.
        codes=$model.$set.codes.zarr
        case $model.$set in
        one*.train) codes=$model.zarr ;;
        *) sdfkit predict "$model.zarr" "$set.zarr" -o "$codes" ;;
        esac
        # mesh ends with status 4 if a shape has no surface; compare gives this shape a score of 0.
        sdfkit mesh "$codes" --decoder "$model.zarr" -o "$model.$set.meshes/" || [ $? -eq 4 ]
        baselines=
        [ "$model.$set" != joint.held ] || baselines="--training split/train/ --features held.features.zarr
            --training-features train.features.zarr"
        # shellcheck disable=SC2086  # a list of options, or nothing
        sdfkit compare "$model.$set.meshes/" "split/$set/" --points "$points" $baselines --json >report.part
        mv report.part "reports/$model.$set.json"
    done
done
# How much codes sampled for one image differ, and whether the codes were hidden by noise that is not scaled to them.
for model in distil brief unit joint; do
    sdfkit predict "$model.zarr" train.zarr --samples 4 -o "$model.samples.zarr"
    sdfkit weight-stats "$model.train.codes.zarr" --json >"reports/$model.stats.json"
    sdfkit rank "$model.train.codes.zarr" --known encoder.zarr --json >"reports/$model.rank.json"
done
for model in joint unit; do
    sdfkit predict "$model.zarr" train.zarr --trajectory -o "$model.steps.zarr"
done
sdfkit view joint.steps.zarr unit.steps.zarr -o steps.html
python "$root/examples/flow.py" table . split/ | tee table.md
python "$root/examples/contact_sheet.py" split/train/ encoder.train.meshes/ joint.train.meshes/ rgb.train.meshes/ \
    one_joint.train.meshes/ -o learned.png
python "$root/examples/contact_sheet.py" split/held/ joint.held.meshes/ one_joint.held.meshes/ -o held.png

echo
echo "Table:   $PWD/table.md"
echo "Stepper: $PWD/steps.html"
echo "Learned: $PWD/learned.png (training shapes; then the encoder, joint and rgb stages of several views, and the joint stage of one)"
echo "Unseen:  $PWD/held.png (held-out shapes; then the joint stage of several views, and of one)"
